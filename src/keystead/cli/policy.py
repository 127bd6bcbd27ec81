"""`keystead policy`: the keys of a workspace that its policy would not allow, on this machine or at a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cyclopts import App

from keystead.cli import render
from keystead.cli.installation import WorkspaceName
from keystead.cli.options import ANYWHERE, Json, Where
from keystead.cli.outcome import Exit
from keystead.cli.server import with_policy
from keystead.domain import policies

if TYPE_CHECKING:
    from keystead.client import Key, Policy

app = App(name="policy", help="Check keys against the policy of their workspace.")


@app.command
def check(*, workspace: WorkspaceName = None, where: Where = ANYWHERE, json: Json = False) -> int:
    """List the active keys that the workspace's policy would not allow today.

    A policy never changes existing keys: rotate these, or give them an earlier
    expiry. The exit code is 1 if there are any.
    """
    with with_policy(where, workspace) as (layers, keys):
        found = list(keys.list(status="active", outside_policy=True))
    if json:
        render.print_json_list(found, None, policy=layers.effective)
    else:
        _print(found, layers.effective)
    return Exit.REFUSED if found else Exit.DONE


def _print(found: list[Key], policy: Policy) -> None:
    if found:
        rows = [(key.id, key.description, key.hint, render.at(key.expires_at)) for key in found]
        render.print_table(("ID", "DESCRIPTION", "TOKEN", "EXPIRES"), rows)
    phrases = policies.describe(policies.Policy(**render.plain(policy)))
    render.note(f"Policy: keys {', '.join(phrases)}." if phrases else "There is no policy.")
    render.note(f"{render.counted(len(found), 'key')} outside the policy.")
