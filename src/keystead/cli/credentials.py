"""`keystead credentials`: what the product's own services authenticate with, on this machine's database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import App, Parameter

from keystead.cli import render, shapes
from keystead.cli.installation import actor
from keystead.cli.options import Json, Place
from keystead.cli.outcome import Exit, Failure, forbid_core_dumps

if TYPE_CHECKING:
    from keystead.domain.credentials import Credential
    from keystead.domain.ids import CredentialId
    from keystead.domain.token import Token
    from keystead.services import Services

app = App(name="credentials", help="Create, see and revoke the credentials of your own services.")

HERE: Final = Place()


@app.command
def create(
    name: str,
    /,
    *,
    kind: Literal["service", "operator"] = "operator",
    place: Place = HERE,
    json: Json = False,
) -> None:
    """Create a credential of the product's own services, and print its token: it is shown this once.

    It works on no call of a workspace.

    Parameters
    ----------
    name
        What will use it, such as "billing backend": 1-100 characters.
    kind
        A service may ask whether a token is good (`POST /introspect`), and nothing else. An operator may do that and
        everything under /operator/v1: workspaces, plans, signing customers in.
    """
    from keystead.cli.installation import opened
    from keystead.domain.credentials import CredentialKind

    forbid_core_dumps()
    with opened(place) as installation:
        made, token = installation.services.credentials.create(
            name, actor(), CredentialKind[kind.upper()]
        )
        _hand_over(made, token, json)


@app.command(name="list")
def list_(*, place: Place = HERE, json: Json = False) -> None:
    """List credentials, newest first, revoked ones too."""
    from keystead.cli.installation import opened

    with opened(place) as installation:
        found = installation.services.credentials.list()
    if json:
        render.print_json(shapes.listed(map(shapes.credential, found)))
        return
    rows = (
        (
            one.id,
            one.kind.name.lower(),
            one.name,
            one.hint,
            "active" if one.revoked_at is None else f"revoked {render.at(one.revoked_at)}",
            f"{render.at(one.created_at)} by {one.created_by.name}",
        )
        for one in found
    )
    render.print_table(("ID", "KIND", "NAME", "TOKEN", "STATUS", "CREATED"), rows)


@app.command
def revoke(
    credential_id: Annotated[str, Parameter(help="The credential's id: svc_... or op_....")],
    /,
    *,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
    place: Place = HERE,
    json: Json = False,
) -> None:
    """End a credential, at once and for good.

    Parameters
    ----------
    yes
        Do it without asking, as scripts must.
    """
    from keystead.cli.installation import opened
    from keystead.domain.ids import CredentialId

    id = CredentialId(credential_id)
    with opened(place) as installation:
        found = _named(installation.services, id)
        if found.revoked_at is None and not yes:
            _ask(found)
        ended = installation.services.credentials.revoke(id, actor())
    if json:
        render.print_json(shapes.credential(ended))
    else:
        render.note(f'Revoked since {render.at(ended.revoked_at)}: "{ended.name}" ({ended.hint}).')


def _named(services: Services, id: CredentialId) -> Credential:
    for credential in services.credentials.list():
        if credential.id == id:
            return credential
    raise Failure("There is no such credential; `keystead credentials list` shows them.")


def _hand_over(made: Credential, token: Token, json: bool) -> None:
    """Prints the token, once. Where it cannot be printed nobody has it: the message says what to do."""
    try:
        if json:
            render.print_json(shapes.credential(made) | {"token": token.reveal()})
        else:
            render.print_line(token.reveal())
        render.flush()
    except OSError:
        raise Failure(
            f"The token could not be written and is lost; revoke {made.id} and create another."
        ) from None
    if not json:
        render.note(f'{made.id}: "{made.name}" ({made.hint}).')
        render.note("The token is shown this once. Keep it where you keep secrets.")


def _ask(credential: Credential) -> None:
    """Failure unless a person at the terminal agrees."""
    if not render.has_person():
        raise Failure("Revoking is final; --yes does it without a question.", Exit.USAGE)
    if not render.confirmed(f'Revoke "{credential.name}" ({credential.hint}) for good?'):
        raise Failure("Nothing was revoked.")
