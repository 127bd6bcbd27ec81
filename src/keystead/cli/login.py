"""`keystead login`, `logout` and `whoami`: a token stored for a server, and the key that it belongs to.

At a terminal `login` asks no one for a token: it shows a code, and gets its own key once a person approves it.
"""

from __future__ import annotations

import getpass
import platform
import re
import sys
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from keystead.cli import render
from keystead.cli.options import Json, Texts
from keystead.cli.outcome import Exit, Failure
from keystead.cli.server import (
    DEFAULT_SERVER,
    DEFAULT_URL,
    Server,
    agent,
    client_errors,
    connected,
)
from keystead.cli.token_file import LARGEST, login_file, remove_token, store_token

if TYPE_CHECKING:
    from keystead.domain.token import Token

Url = Annotated[
    str,
    Parameter(
        env_var="KEYSTEAD_URL", help="The server's URL. Plain http works for this machine only."
    ),
]
TokenStdin = Annotated[
    bool,
    Parameter(negative=(), help="Enter a token, or pass it on standard input."),
]
Description = Annotated[
    str | None, Parameter(name=["--description", "-d"], help="A description for the new key.")
]
Wishes = Annotated[
    Texts,
    Parameter(help="A scope that the new key should have; repeatable. You choose on the page."),
]
_NOT_OF_A_HOST: Final = re.compile(r"[^A-Za-z0-9._-]")
_OPERATOR: Final = "_op"
_SERVICE: Final = "_svc"


def login(
    *,
    url: Url = DEFAULT_URL,
    token_stdin: TokenStdin = False,
    description: Description = None,
    scope: Wishes = (),
    json: Json = False,
) -> None:
    """Sign in at a server, so that later commands need no token.

    Open the page that it shows, enter the code, and choose what the new key may do. Its
    token goes straight into a file with mode 0600.

    With --token-stdin, enter the token of a key or of an operator's credential instead,
    or pass it on standard input. It is tried at the server first, then stored.
    """
    with client_errors():
        if token_stdin:
            token = _read_token()
            is_operator = token.prefix.endswith(_OPERATOR)
            result = _try(url, token, is_operator)
        else:
            token, is_operator, result = _ask_for_approval(url, description, scope), False, ""
        file = login_file(url, operator=is_operator)
        # A token that was just created is in no other place: it is stored before anything else can fail.
        is_replaced = file.exists()
        store_token(file, token.reveal())
        result = result or _try(url, token, is_operator)
    if json:
        render.print_json(
            {"url": url, "kind": "operator" if is_operator else "key", "file": str(file)}
        )
    else:
        render.note(f"{result} The token is stored in {file}; `keystead logout` removes it.")
        if is_replaced:
            render.note("It replaced another token, whose key keeps working until it is revoked.")


def logout(*, url: Url = DEFAULT_URL, json: Json = False) -> None:
    """Remove the stored tokens of a server. Their keys keep working."""
    files = [login_file(url, operator=operator) for operator in (False, True)]
    removed = [str(file) for file in files if remove_token(file)]
    if json:
        render.print_json({"url": url, "removed": removed})
    elif removed:
        render.note(f"Removed {' and '.join(removed)}. Copies still work until the key is revoked.")
    else:
        render.note(f"No token was stored for {url}.")


def whoami(*, server: Server = DEFAULT_SERVER, json: Json = False) -> None:
    """Show the current key, its workspace and scopes."""
    with connected(server) as client:
        caller = client.whoami()
    if json:
        render.print_json(caller)
        return
    key, workspace = caller.key, caller.workspace
    render.print_fields(
        {
            "workspace": f"{workspace.name} ({workspace.id})",
            "plan": workspace.plan,
            "key": f"{key.id} ({key.hint})",
            "description": key.description,
            "scopes": " ".join(key.scopes),
            "expires": render.at(key.expires_at),
        }
    )


def _ask_for_approval(url: str, description: str | None, scopes: tuple[str, ...]) -> Token:
    """Return the token of a new key, once a person has approved the code that is shown. Failure."""
    from keystead.client import DeviceLogin

    if not sys.stdin.isatty():
        raise Failure(
            "Signing in needs a terminal. Pass a token on standard input with --token-stdin.",
            Exit.USAGE,
        )
    host = _NOT_OF_A_HOST.sub("-", platform.node())[:100]
    with DeviceLogin(url, agent=agent()) as device:
        code = device.start(
            scopes=scopes, description=description or f"keystead login on {host}", host=host
        )
        render.note(f"Open {code.verification_uri} and enter the code {code.user_code}")
        render.note(f"or open {code.verification_uri_complete}")
        render.note(f"Waiting for your approval, at most {code.expires_in // 60} minutes …")
        return device.wait(code)


def _read_token() -> Token:
    """Read a token, typed without echo or from standard input. NotAToken or Failure."""
    from keystead.client import NotAToken
    from keystead.domain.token import parse, trim

    text = getpass.getpass("Token: ") if sys.stdin.isatty() else sys.stdin.read(LARGEST)
    token = parse(trim(text))
    if token is None:
        raise NotAToken("This token is incomplete. Copy it again, or create a new key.")
    if token.prefix.endswith(_SERVICE):
        raise Failure(
            "This is a service's credential, which can only check tokens. No command uses it.",
            Exit.USAGE,
        )
    return token


def _try(url: str, token: Token, is_operator: bool) -> str:
    """Call the server with the token, and return a sentence about its owner."""
    from keystead.client import Client, Operator

    if is_operator:
        with Operator(url, token.reveal()) as operator:
            plans = render.counted(len(operator.plans()), "plan")
        return f"{url} accepts this operator's credential ({plans} there)."
    with Client(url, token.reveal()) as client:
        caller = client.whoami()
    key = caller.key
    return f'{url} accepts the key "{key.description}" ({key.hint}) of {caller.workspace.name}.'
