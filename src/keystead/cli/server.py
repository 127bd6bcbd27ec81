"""The server that a command connects to, and its errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

from cyclopts import Parameter

from keystead.cli.options import gather
from keystead.cli.outcome import Exit, Failure, forbid_core_dumps, in_words
from keystead.cli.render import at, note
from keystead.cli.token_file import FILE_VARIABLE, VARIABLE, read_token
from keystead.domain.credentials import CredentialKind, kind_of
from keystead.domain.ids import is_id
from keystead.domain.token import parse

if TYPE_CHECKING:
    from keystead.cli.options import Where
    from keystead.client import Client, Operator, Page, PolicyLayers, Problem
    from keystead.client._sync.keys import Keys
    from keystead.client._sync.webhooks import Events

T = TypeVar("T")

WORKSPACE_CALLS: Final = ("workspaces:MANAGED_WORKSPACES",)
_KINDS: Final = {
    None: "a workspace's key",
    CredentialKind.OPERATOR: "an operator's credential",
    CredentialKind.SERVICE: "a service's credential",
}
DEFAULT_URL: Final = "http://127.0.0.1:8080"
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
    """The server that a command connects to. The token comes from KEYSTEAD_TOKEN or a file, never from an option."""

    url: Annotated[
        str,
        Parameter(
            env_var="KEYSTEAD_URL", help="The server's URL. Plain http works for this machine only."
        ),
    ] = DEFAULT_URL
    token_file: Annotated[
        Path | None,
        Parameter(
            help=f"File (mode 0600) with the token. Default: ${VARIABLE}, ${FILE_VARIABLE}, the token of `login`,"
            " or ~/.config/keystead/token."
        ),
    ] = None


DEFAULT_SERVER: Final = Server()


def server_of(where: Where) -> Server | None:
    """Return the server that a command uses; None: this machine's installation. Failure."""
    if where.url is None:
        if where.token_file is not None:
            raise Failure("--token-file needs a server: add its --url.", Exit.USAGE)
        return None
    if where.data is not None or where.database is not None:
        raise Failure(
            "Name either a server (--url) or an installation on this machine (--data, --database).",
            Exit.USAGE,
        )
    return Server(where.url, where.token_file)


@contextmanager
def connected(server: Server) -> Iterator[Client]:
    """Yield a client with a key's token, whose errors become failures. Warn of a key that expires soon."""
    from keystead.client import Client

    with client_errors():
        token = read_token(server.token_file, server.url)
        _require_kind(token, None)
        with Client(server.url, token, agent=agent()) as client:
            yield client
        if client.key_expires_at is not None:
            note(f"This key expires {at(client.key_expires_at)}. Rotate it before then.")


@contextmanager
def operating(where: Where, *calls: str) -> Iterator[Operator]:
    """Yield an operator's client, whose errors become failures: at a server, or on this machine without a credential.

    `calls`: what the command calls of the Operator API, as `sending_here` takes it.
    """
    server = server_of(where)
    with client_errors():
        if server is not None:
            with _operator_of(
                server, read_token(server.token_file, server.url, operator=True)
            ) as there:
                yield there
            return
        from keystead.cli.local import sending_here
        from keystead.client import Operator

        with sending_here(where.place, calls) as sender:
            yield Operator.over(sender)


@contextmanager
def with_keys(where: Where, workspace: str | None) -> Iterator[Keys]:
    """Yield the keys of a workspace: with the workspace's own key at a server, else as an operator."""
    server = server_of(where)
    if server is not None and workspace is None:
        with connected(server) as client:
            yield client.keys
        return
    with operating(where, *WORKSPACE_CALLS, "keys:WORKSPACE_KEYS") as operator:
        yield operator.keys(workspace_id_of(operator, workspace))


@contextmanager
def with_events(where: Where, workspace: str | None) -> Iterator[Events]:
    """Yield the events of a workspace, as `with_keys` does."""
    server = server_of(where)
    if server is not None and workspace is None:
        with connected(server) as client:
            yield client.events
        return
    with operating(where, *WORKSPACE_CALLS, "events:WORKSPACE_EVENTS") as operator:
        yield operator.events(workspace_id_of(operator, workspace))


@contextmanager
def with_policy(where: Where, workspace: str | None) -> Iterator[tuple[PolicyLayers, Keys]]:
    """Yield the policy of a workspace and its keys, as `with_keys` does."""
    server = server_of(where)
    if server is not None and workspace is None:
        with connected(server) as client:
            yield client.policy(), client.keys
        return
    calls = (*WORKSPACE_CALLS, "policies:MANAGED_POLICIES", "keys:WORKSPACE_KEYS")
    with operating(where, *calls) as operator:
        id = workspace_id_of(operator, workspace)
        yield operator.workspaces.policy(id), operator.keys(id)


def workspace_id_of(operator: Operator, workspace: str | None) -> str:
    """Return the id of the workspace with that id or name; by default of the only one. Failure if that is not clear."""
    if workspace is not None and is_id("ws", workspace):
        return workspace
    if workspace is None:
        found = operator.workspaces.page(limit=2).items
        if not found:
            raise Failure(
                "There is no workspace yet. Create one: `keystead workspaces create NAME`."
            )
        several = "There are several workspaces. Name one with --workspace"
    else:
        found = [one for one in operator.workspaces.list(query=workspace) if one.name == workspace]
        if not found:
            raise Failure(
                "There is no workspace of that id or name.", members={"code": "not-found"}
            )
        several = "Several workspaces have that name. Use the id of one"
    if len(found) > 1:
        raise Failure(f"{several} (`keystead workspaces list` shows them).", Exit.USAGE)
    return found[0].id


@contextmanager
def _operator_of(server: Server, token: str) -> Iterator[Operator]:
    from keystead.client import Operator

    _require_kind(token, CredentialKind.OPERATOR)
    with Operator(server.url, token, agent=agent()) as operator:
        yield operator


def gather_pages(
    page: Callable[..., Page[T]], limit: int | None, cursor: str | None
) -> tuple[list[T], str | None]:
    """Return at most `limit` items from the pages of a client's method, and where to continue."""

    def fetch(size: int, after: str | None) -> tuple[list[T], str | None]:
        result = page(limit=size, cursor=after)
        return list(result.items), result.next_cursor

    return gather(fetch, limit, cursor)


def _require_kind(text: str, needed: CredentialKind | None) -> None:
    """Raise Failure for a token of another kind than needed (None: a key), because the server would only send 401."""
    token = parse(text)
    if token is None or (kind := kind_of(token)) is needed:
        return
    raise Failure(
        f"This token belongs to {_KINDS[kind]}, but the command needs that of {_KINDS[needed]}.",
        Exit.DENIED,
    )


@contextmanager
def client_errors() -> Iterator[None]:
    """Forbid core dumps, and turn the client's errors into failures of the command."""
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
            f"{error} Set ${VARIABLE} or use a private file (`keystead login`).", Exit.DENIED
        ) from None
    except Problem as problem:
        raise failure_of(problem) from None
    except TokenLost as lost:
        raise Failure(str(lost)) from None
    except ClientError as error:
        raise Failure(str(error), Exit.UNAVAILABLE) from None


def failure_of(problem: Problem) -> Failure:
    """Return a server's error as a failure, with all its members for JSON."""
    members = {"code": problem.code, "title": problem.title, **problem.extras}
    detail = str(problem)
    if problem.errors:
        members["detail"], members["errors"] = detail, [e.members() for e in problem.errors]
        detail = in_words((e.pointer, e.detail) for e in problem.errors)
    return Failure(detail, _EXITS.get(problem.status, Exit.REFUSED), members)


def agent() -> str:
    """Return the command line's User-Agent."""
    from keystead import __version__

    return f"keystead-cli/{__version__}"
