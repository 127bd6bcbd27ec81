"""The server that a command speaks to as a client, and what becomes of its refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from keystead.cli.core_dumps import forbid_core_dumps
from keystead.cli.outcome import Exit, Failure
from keystead.cli.token_file import FILE_VARIABLE, VARIABLE, read_token, usual_file

if TYPE_CHECKING:
    from keystead.client import Client, Problem

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
            help=f"File (mode 0600) with the token; without it ${VARIABLE}, ${FILE_VARIABLE},"
            " then ~/.config/keystead/token."
        ),
    ] = None


@contextmanager
def connected(server: Server) -> Iterator[Client]:
    """A client of that server. What it refuses, and that it cannot be reached, is a Failure in one line."""
    from keystead import __version__
    from keystead.client import Client, ClientError, NotAToken, Problem, UnsafeAddress

    forbid_core_dumps()
    try:
        token = read_token(server.token_file)
        with Client(server.url, token, agent=f"keystead-cli/{__version__}") as client:
            yield client
    except UnsafeAddress as error:
        raise Failure(f"{error}", Exit.USAGE) from None
    except NotAToken as error:
        raise Failure(
            f"{error} It is read from ${VARIABLE} or {usual_file()}.", Exit.DENIED
        ) from None
    except Problem as problem:
        raise failure_of(problem) from None
    except ClientError as error:
        raise Failure(str(error), Exit.UNAVAILABLE) from None


def failure_of(problem: Problem) -> Failure:
    """A refusal of the server as the failure of a command, its problem told whole where JSON is asked for."""
    refusal = problem.refusal
    fields = [{"pointer": error.pointer, "detail": error.detail} for error in refusal.errors]
    said = {
        "code": refusal.code,
        "title": refusal.title,
        **(refusal.extras or {}),
        **({"errors": fields} if fields else {}),
    }
    return Failure(str(problem), _EXITS.get(refusal.status, Exit.REFUSED), said)
