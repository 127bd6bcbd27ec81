"""`keystead login` and `keystead logout`: a token kept in a private file for one server, and taken away again."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from keystead.cli import render, shapes
from keystead.cli.options import Json
from keystead.cli.outcome import Exit, Failure
from keystead.cli.server import HERE, Server, connected, refusals_told
from keystead.cli.token_file import LARGEST, forget_token, keep_token, kept_file

if TYPE_CHECKING:
    from keystead.domain.token import Token

Url = Annotated[
    str, Parameter(env_var="KEYSTEAD_URL", help="The server; plain http only to this machine.")
]
_OPERATOR: Final = "_op"
USUAL: Final = Server()
_SERVICE: Final = "_svc"


def login(*, url: Url = HERE, json: Json = False) -> None:
    """Keep a token for a server, so that later commands need none.

    It is asked for without being shown, or read from standard input: a key's token, or that of an operator's
    credential. It is tried at the server first, and kept in a file of your own with mode 0600.
    """
    with refusals_told():
        token = _asked_for()
        is_operator = token.prefix.endswith(_OPERATOR)
        said = _tried(url, token, is_operator)
        file = kept_file(url, operator=is_operator)
        keep_token(file, token.reveal())
    if json:
        render.print_json(
            {"url": url, "kind": "operator" if is_operator else "key", "file": str(file)}
        )
    else:
        render.note(f"{said} The token is kept in {file}; `keystead logout` removes it.")


def logout(*, url: Url = HERE, json: Json = False) -> None:
    """Remove the tokens that `keystead login` kept for a server; the keys themselves live on."""
    kept = [kept_file(url, operator=operator) for operator in (False, True)]
    removed = [str(file) for file in kept if forget_token(file)]
    if json:
        render.print_json({"url": url, "removed": removed})
    elif removed:
        render.note(
            f"Removed {' and '.join(removed)}. Who has copies can still use them: revoke the key."
        )
    else:
        render.note(f"Nothing was kept for {url}.")


def _asked_for() -> Token:
    """The token, as a person types it unseen or as another program writes it. NotAToken."""
    from keystead.client import NotAToken
    from keystead.domain.token import parse, trim

    text = getpass.getpass("Token: ") if sys.stdin.isatty() else sys.stdin.read(LARGEST)
    token = parse(trim(text))
    if token is None:
        raise NotAToken("This is not a whole token; copy it again, or create a new key.")
    if token.prefix.endswith(_SERVICE):
        raise Failure(
            "A service's credential only asks about tokens; no command uses it.", Exit.USAGE
        )
    return token


def _tried(url: str, token: Token, is_operator: bool) -> str:
    """A sentence about whose it is, from the server itself."""
    from keystead.client import Client, Operator

    if is_operator:
        with Operator(url, token.reveal()) as operator:
            count = len(operator.plans())
        return f"{url} takes it as an operator's ({count} plans there)."
    with Client(url, token.reveal()) as client:
        found = client.whoami()
    key = found.key
    return f'{url} knows it as "{key.description}" ({key.hint}) of {found.workspace.name}.'


if TYPE_CHECKING:
    from keystead.client import Whoami


def whoami(*, server: Server = USUAL, json: Json = False) -> None:
    """Say whose key this is: its workspace, what it may do, when it ends."""
    with connected(server) as client:
        found = client.whoami()
    if json:
        render.print_json(_whoami_shape(found))
        return
    key = found.key
    render.print_fields(
        {
            "workspace": f"{found.workspace.name} ({found.workspace.id})",
            "plan": found.workspace.plan,
            "key": f"{key.id} ({key.hint})",
            "description": key.description,
            "scopes": " ".join(key.scopes),
            "expires": render.at(key.expires_at),
        }
    )


def _whoami_shape(found: Whoami) -> shapes.Shape:
    key = found.key
    instants = ("created_at", "expires_at", "last_used_at", "revoked_at")
    plain = {name: getattr(key, name) for name in key.__slots__}
    told = {name: shapes.instant(plain[name]) for name in instants}
    maker = {"type": key.created_by.type, "id": key.created_by.id, "name": key.created_by.name}
    of = found.workspace
    workspace = {"id": of.id, "name": of.name, "plan": of.plan}
    return {"workspace": workspace, "key": plain | told | {"created_by": maker}}
