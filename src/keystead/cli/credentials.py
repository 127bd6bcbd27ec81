"""`keystead credentials`: the credentials of the product's own services, on this machine or at a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import App, Parameter

from keystead.cli import render
from keystead.cli.options import ANYWHERE, Cursor, Flag, Json, Limit, Where, Yes
from keystead.cli.outcome import Failure, forbid_core_dumps
from keystead.cli.server import gather_pages, operating

if TYPE_CHECKING:
    from keystead.client import Credential, Operator

CALLS: Final = "credentials:CREDENTIALS"
app = App(name="credentials", help="Create, list and revoke the credentials of your own services.")


@app.command
def create(
    name: str,
    /,
    *,
    kind: Literal["service", "operator"] = "operator",
    where: Where = ANYWHERE,
    json: Json = False,
) -> None:
    """Create a credential for one of your services, and print its token, which is shown only once.

    It can't call the API of a workspace.

    Parameters
    ----------
    name
        What will use it, such as "billing backend": 1-100 characters.
    kind
        A service can only check tokens (`POST /introspect`). An operator can also call everything under
        /operator/v1: workspaces, plans, portal sessions.
    """
    forbid_core_dumps()
    with operating(where, CALLS) as operator:
        created = operator.credentials.create(name, kind=kind)
        render.print_secret(
            created,
            "token",
            created.token,
            json,
            recovery=f"revoke {created.id} and create another",
            about=f'{created.id}: "{created.name}" ({created.hint}).',
        )


@app.command(name="list")
def list_(
    *, limit: Limit = None, cursor: Cursor = None, where: Where = ANYWHERE, json: Json = False
) -> None:
    """List credentials, newest first, revoked ones included."""
    with operating(where, CALLS) as operator:
        credentials, after = gather_pages(operator.credentials.page, limit, cursor)
    if json:
        render.print_json_list(credentials, after)
        return
    rows = (
        (
            credential.id,
            credential.kind,
            credential.name,
            credential.hint,
            f"revoked {render.at(credential.revoked_at)}" if credential.revoked_at else "active",
            f"{render.at(credential.created_at)} by {credential.created_by.name}",
        )
        for credential in credentials
    )
    render.print_table(("ID", "KIND", "NAME", "TOKEN", "STATUS", "CREATED"), rows)


@app.command
def revoke(
    credential_id: Annotated[str, Parameter(help="The credential's id: svc_... or op_....")],
    /,
    *,
    created: Flag = False,
    yes: Yes = False,
    where: Where = ANYWHERE,
    json: Json = False,
) -> None:
    """Revoke a credential immediately. This can't be undone.

    Parameters
    ----------
    created
        Also revoke the credentials that it created, and that these created: a leaked one may have made some.
    """
    with operating(where, CALLS) as operator:
        credential = _find(operator, credential_id)
        if credential.revoked_at is None and not yes:
            render.require_confirmation(
                f'Revoke "{credential.name}" ({credential.hint})? This can\'t be undone.',
                "Revoking can't be undone.",
                "Nothing was revoked.",
            )
        operator.credentials.revoke(credential_id, created=created)
        revoked = _find(operator, credential_id)
    if json:
        render.print_json(revoked)
    else:
        render.note(
            f'"{revoked.name}" ({revoked.hint}) was revoked on {render.at(revoked.revoked_at)}.'
        )


def _find(operator: Operator, id: str) -> Credential:
    for credential in operator.credentials.list():
        if credential.id == id:
            return credential
    raise Failure("Credential not found. `keystead credentials list` shows all credentials.")
