"""`keystead credentials`: the credentials of the product's own services, in this machine's database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from keystead.cli import render, shapes
from keystead.cli.installation import actor, opened
from keystead.cli.options import HERE, Json, Place, Yes
from keystead.cli.outcome import Failure, forbid_core_dumps
from keystead.domain.credentials import Credential, CredentialKind
from keystead.domain.ids import CredentialId

if TYPE_CHECKING:
    from keystead.services import Services

app = App(name="credentials", help="Create, list and revoke the credentials of your own services.")


@app.command
def create(
    name: str,
    /,
    *,
    kind: Literal["service", "operator"] = "operator",
    place: Place = HERE,
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
    with opened(place) as installation:
        credential, token = installation.services.credentials.create(
            name, actor(), CredentialKind[kind.upper()]
        )
        render.print_secret(
            shapes.credential(credential),
            "token",
            token,
            json,
            recovery=f"revoke {credential.id} and create another",
            about=f'{credential.id}: "{credential.name}" ({credential.hint}).',
        )


@app.command(name="list")
def list_(*, place: Place = HERE, json: Json = False) -> None:
    """List credentials, newest first, revoked ones included."""
    with opened(place) as installation:
        credentials = installation.services.credentials.list()
    if json:
        render.print_json(shapes.listed(map(shapes.credential, credentials)))
        return
    rows = (
        (
            credential.id,
            credential.kind.name.lower(),
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
    yes: Yes = False,
    place: Place = HERE,
    json: Json = False,
) -> None:
    """Revoke a credential immediately. This can't be undone."""
    id = CredentialId(credential_id)
    with opened(place) as installation:
        credential = _find(installation.services, id)
        if credential.revoked_at is None and not yes:
            render.require_confirmation(
                f'Revoke "{credential.name}" ({credential.hint})? This can\'t be undone.',
                "Revoking can't be undone.",
                "Nothing was revoked.",
            )
        revoked = installation.services.credentials.revoke(id, actor())
    if json:
        render.print_json(shapes.credential(revoked))
    else:
        render.note(
            f'"{revoked.name}" ({revoked.hint}) was revoked on {render.at(revoked.revoked_at)}.'
        )


def _find(services: Services, id: CredentialId) -> Credential:
    for credential in services.credentials.list():
        if credential.id == id:
            return credential
    raise Failure("Credential not found. `keystead credentials list` shows all credentials.")
