"""The server that a command speaks to as a client, and what becomes of its refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from keystead.cli.outcome import Exit, Failure, forbid_core_dumps
from keystead.cli.render import at, note
from keystead.cli.token_file import FILE_VARIABLE, VARIABLE, read_token
from keystead.domain.credentials import CredentialKind, kind_of
from keystead.domain.token import parse

if TYPE_CHECKING:
    from keystead.cli.options import Where
    from keystead.client import Client, Operator, Problem

_KINDS: Final = {
    None: "a workspace's key",
    CredentialKind.OPERATOR: "an operator's credential",
    CredentialKind.SERVICE: "a service's credential",
}
HERE: Final = "http://127.0.0.1:8080"
_EXITS: Final = {
    401: Exit.DENIED,
    403: Exit.DENIED,
    429: Exit.UNAVAILABLE,
    500: Exit.UNAVAILABLE,
    503: Exit.UNAVAILABLE,
    507: Exit.UNAVAILABLE,
}


@Parameter(name="*", group="Server")
@dataclass(frozen=True)
class Server:
    """Which server a command speaks to. The token comes from KEYSTEAD_TOKEN or a private file, never from an option."""

    url: Annotated[
        str,
        Parameter(env_var="KEYSTEAD_URL", help="The server; plain http only to this machine."),
    ] = HERE
    token_file: Annotated[
        Path | None,
        Parameter(
            help=f"File (mode 0600) with the token; without it ${VARIABLE}, ${FILE_VARIABLE}, what `login` kept,"
            " then ~/.config/keystead/token."
        ),
    ] = None


def server_of(where: Where) -> Server | None:
    """The server that a command shall speak to; None: this machine's own installation."""
    if where.url is None:
        if where.token_file is not None:
            raise Failure("--token-file is for a server: give its --url too.", Exit.USAGE)
        return None
    if where.data is not None or where.database is not None:
        raise Failure(
            "Name a server (--url), or an installation on this machine (--data, --database).",
            Exit.USAGE,
        )
    return Server(where.url, where.token_file)


@contextmanager
def connected(server: Server) -> Iterator[Client]:
    """A client of that server, with a key. What is refused, and that nobody answers, is a Failure in one line.

    A key that ends soon is told of on standard error.
    """
    from keystead.client import Client

    with refusals_told():
        token = read_token(server.token_file, server.url)
        _require_kind(token, None)
        with Client(server.url, token, agent=_agent()) as client:
            yield client
        if client.key_expires_at is not None:
            note(f"The key of this token ends {at(client.key_expires_at)}: rotate it before.")


@contextmanager
def operating(server: Server) -> Iterator[Operator]:
    """As connected, with an operator's credential."""
    from keystead.client import Operator

    with refusals_told():
        token = read_token(server.token_file, server.url, operator=True)
        _require_kind(token, CredentialKind.OPERATOR)
        with Operator(server.url, token, agent=_agent()) as operator:
            yield operator


def _require_kind(text: str, needed: CredentialKind | None) -> None:
    """Failure for the token of something else than the command needs (None: a key): the server says only 401."""
    token = parse(text)
    if token is None or (kind := kind_of(token)) is needed:
        return
    raise Failure(
        f"This is the token of {_KINDS[kind]}; this command needs that of {_KINDS[needed]}.",
        Exit.DENIED,
    )


@contextmanager
def refusals_told() -> Iterator[None]:
    """Forbids core dumps, and turns the client's errors into failures of the command."""
    from keystead.client import (
        ClientError,
        InvalidValue,
        NotAToken,
        Problem,
        TokenLost,
        UnsafeAddress,
    )

    forbid_core_dumps()
    try:
        yield
    except (UnsafeAddress, InvalidValue) as error:
        raise Failure(f"{error}", Exit.USAGE) from None
    except NotAToken as error:
        raise Failure(
            f"{error} It is read from ${VARIABLE} or a private file (`keystead login`).",
            Exit.DENIED,
        ) from None
    except Problem as problem:
        raise failure_of(problem) from None
    except TokenLost as lost:
        raise Failure(str(lost)) from None
    except ClientError as error:
        raise Failure(str(error), Exit.UNAVAILABLE) from None


def failure_of(problem: Problem) -> Failure:
    """A refusal of the server as the failure of a command, its problem told whole where JSON is asked for."""
    fields = [error.members() for error in problem.errors]
    said = {
        "code": problem.code,
        "title": problem.title,
        **problem.extras,
        **({"errors": fields} if fields else {}),
    }
    return Failure(str(problem), _EXITS.get(problem.status, Exit.REFUSED), said)


def _agent() -> str:
    from keystead import __version__

    return f"keystead-cli/{__version__}"
