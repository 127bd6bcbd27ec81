"""`keystead migrate`: the database's schema and, on PostgreSQL, its roles and row-level security."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from keystead.cli import render
from keystead.cli.options import HERE, Flag, Json, Place
from keystead.cli.outcome import Exit

if TYPE_CHECKING:
    from keystead.bootstrap import Migrated


def migrate(
    *,
    check: Flag = False,
    server_role: str | None = None,
    enforce: Flag = False,
    place: Place = HERE,
    json: Json = False,
) -> int:
    """Update the database's schema to this version. You can run it several times, also at the same time.

    On PostgreSQL it also sets up row-level security and the server's roles. This needs the owner of the tables:
    set its URL with KEYSTEAD_MIGRATION_DATABASE or --database.

    Parameters
    ----------
    check
        Only show the state of the schema (exit code 1 unless it is current).
    server_role
        The PostgreSQL role that the servers log in as. Default: the role in their URL, else keystead_server.
    enforce
        Also apply row-level security to the owner of the tables, once no server without it is running.
    """
    from keystead import bootstrap
    from keystead.settings import read_settings

    settings = read_settings(**asdict(place))
    if check:
        state = bootstrap.schema_state(settings)
        _print(asdict(state), [f"The schema is {state.status}."], json)
        return Exit.DONE if state.status == "current" else Exit.REFUSED
    done = bootstrap.migrate(settings, server_role, enforce=enforce)
    report: dict[str, Any] = asdict(done.before)
    if done.row_security is not None:
        report["row_security"] = asdict(done.row_security)
    _print(report, list(_lines(done)), json)
    return Exit.REFUSED if done.row_security and done.row_security.left else Exit.DONE


def _lines(done: Migrated) -> Iterator[str]:
    before, walled = done.before, done.row_security
    state = "was already current" if before.status == "current" else f"is now at {before.needed}"
    yield f"The schema {state}."
    if walled is None:
        return
    if walled.left:
        yield "This role can't create roles. Ask an administrator to run this, then run keystead migrate again:"
        yield from walled.left
        return
    yield f"Row-level security is {'now' if walled.done else 'already'} on. Servers log in as {walled.server}."
    if walled.made_login:
        yield f"That role is new and has no password. Set one in psql: \\password {walled.server}"
    if walled.owners_way:
        yield "Older servers still work as the owner of the tables. When none is running, run:"
        yield "keystead migrate --enforce"


def _print(state: dict[str, Any], lines: list[str], json: bool) -> None:
    if json:
        render.print_json(state)
        return
    for line in lines:
        render.print_line(line)
