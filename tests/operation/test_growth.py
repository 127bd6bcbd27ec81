"""A request of a stranger or a tenant costs a server time that is linear in its bytes, at every endpoint."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from keystead.http.asgi import Header
from keystead.http.body import JSON_LIMIT, KIB, MIB
from tests.support.asgi import HOST, scope_of
from tests.support.gate import FORM, GateApplication, gate_of
from tests.support.growth import WORST, growth, pumped
from tests.support.growth_inputs import BODIES, FIELD, QUERY
from tests.support.installations import prepare, sandbox_on, text_of
from tests.support.server_process import HOST as ADDRESS
from tests.support.server_process import ServerProcess, serving

JSON: Final[Header] = (b"content-type", b"application/json")
KEY, SERVICE = b"Bearer <key>", b"Bearer <service>"
"""Placeholders for a live key of the workspace, and for a service's credential."""

Sent = tuple[str, str, list[Header], bytes]
"""The method, the target, the fields without Host, and the body."""
Make = Callable[[int], Sent]

PATHS: Final = (
    "/v1/keys",
    "/forward-auth/any",
    "/introspect",
    "/revoke",
    "/sign-in",
    "/problems/none",
    "/none",
)
FIELDS: Final[dict[str, Callable[[int], str]]] = {
    "authorization": pumped(", "),
    "authorization of a bearer": pumped(", a", "Bearer a"),
    "cookie": pumped("\\\\", 'a="', '"'),
    "cookie of many": pumped("a=b;"),
    "x-forwarded-for": pumped("1.1.1.1,"),
    "x-forwarded-proto": pumped(",https"),
    "user-agent": pumped("a1 "),
    "content-type": pumped(";a=b", "application/json"),
    "idempotency-key": pumped("a"),
}
QUERIES: Final[dict[str, Callable[[int], str]]] = {
    "names": lambda size: "&".join(f"{number:x}" for number in range(size // 4)),
    "pairs": pumped("limit=1&"),
    "escapes": pumped("%F0%9F%92%A9"),
    "cursor": pumped("A", "cursor="),
    "search": pumped("%C3%A9+", "query="),
}


def _field(path: str, name: str) -> Make:
    method = "POST" if path in {"/introspect", "/revoke"} else "GET"
    field, make = name.partition(" ")[0].encode(), FIELDS[name]

    def sent(size: int) -> Sent:
        known = [] if field == b"authorization" else [(b"authorization", KEY)]
        return method, path, [*known, (field, make(size).encode())], b""

    return sent


def _query(path: str, name: str) -> Make:
    return lambda size: ("GET", f"{path}?{QUERIES[name](size)}", [(b"authorization", KEY)], b"")


def _json(method: str, path: str, name: str) -> Make:
    fields = [(b"authorization", KEY), JSON]
    return lambda size: (method, path, fields, BODIES[name](size))


def _form(path: str, pump: str) -> Make:
    fields = [(b"authorization", SERVICE), FORM, (b"sec-fetch-site", b"same-origin")]
    return lambda size: ("POST", path, fields, pumped(pump)(size).encode())


BATCH: Final = "/v1/collections/none/documents/batch"
REQUESTS: Final[dict[str, tuple[Make, int]]] = {
    **{f"{path}: {name}": (_field(path, name), FIELD) for path in PATHS for name in FIELDS},
    **{
        f"{path}?{name}": (_query(path, name), QUERY)
        for path in ("/v1/keys", "/v1/collections/none/documents", "/sign-in", "/forward-auth/any")
        for name in QUERIES
    },
    **{f"POST /v1/keys: {name}": (_json("POST", "/v1/keys", name), JSON_LIMIT) for name in BODIES},
    **{
        f"batch: {name}": (_json("POST", BATCH, name), MIB)
        for name in ("names, one twice", "upserts", "numbers")
    },
    **{
        f"{path}: form of {pump}": (_form(path, pump), 64 * KIB - 1)
        for path in ("/introspect", "/revoke", "/sign-in")
        for pump in ("a&", "%41", "token=a&", "+", "=")
    },
}
WORST_KNOWN: Final = (
    *("/v1/keys: authorization", "/sign-in: cookie", "/v1/keys: cookie", "/v1/keys?names"),
    *(
        "POST /v1/keys: names, one twice",
        "batch: names, one twice",
        "batch: upserts",
        "/introspect: form of a&",
    ),
)
"""The requests that were quadratic once, or cost most."""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GateApplication]:
    """The whole application in this process."""
    url = f"sqlite:///{tmp_path_factory.mktemp('growth') / 'keystead.db'}"
    prepare(url)
    with sandbox_on(url) as sandbox, asyncio.Runner() as runner:
        yield gate_of(sandbox, runner)


@pytest.fixture(scope="module")
def known(gate: GateApplication) -> dict[bytes, bytes]:
    """The placeholders of live credentials, and the credentials."""
    token = text_of(gate.sandbox.key(gate.sandbox.tenant()))
    return {KEY: b"Bearer " + token.encode(), SERVICE: b"Bearer " + gate.credential()[1].encode()}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_linear(gate: GateApplication, known: dict[bytes, bytes], name: str) -> None:
    """Every part of a request, inflated up to what the stack lets through, costs the application linear time."""
    make, longest = REQUESTS[name]

    def send(sent: Sent) -> None:
        method, target, fields, body = sent
        path, _, query = target.partition("?")
        headers = [HOST, *((key, known.get(value, value)) for key, value in fields)]
        gate.send(scope_of(method, path, headers, query_string=query.encode()), body)

    send(make(longest // 4))
    worst = growth(send, make, longest)
    assert worst <= WORST, f"grew {worst:.1f}-fold in a doubling"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, bytes]]:
    """A server, and the token of a key of it."""
    with serving(f"sqlite:///{tmp_path_factory.mktemp('served') / 'keystead.db'}") as started:
        yield started, started.token().encode()


@pytest.mark.slow
@pytest.mark.parametrize("name", WORST_KNOWN)
def test_a_request_to_a_server_is_linear(served: tuple[ServerProcess, bytes], name: str) -> None:
    """A real server needs linear time too, by the CPU time of its processes."""
    server, token = served
    make, longest = REQUESTS[name]

    def send(sent: Sent) -> None:
        method, target, fields, body = sent
        lines = [b"%s: %s" % (key, value.replace(b"<key>", token)) for key, value in fields]
        head = [f"{method} {target} HTTP/1.1".encode(), b"Host: a", b"Connection: close", *lines]
        head.append(b"Content-Length: %d" % len(body))
        with socket.create_connection((ADDRESS, server.port), timeout=60) as connection:
            connection.sendall(b"\r\n".join(head) + b"\r\n\r\n" + body)
            answer = b""
            while part := connection.recv(65_536):
                answer += part
        assert answer.startswith(b"HTTP/1.1 ")
        assert not answer.startswith(b"HTTP/1.1 5")

    send(make(longest // 4))
    worst = growth(send, make, longest, lambda: spent(server))
    assert worst <= WORST, f"grew {worst:.1f}-fold in a doubling"


def spent(server: ServerProcess) -> float:
    """Return the CPU seconds of all threads of the server's processes (proc(5), schedstat)."""
    tasks = (
        task for process in server.processes() for task in Path(f"/proc/{process}/task").iterdir()
    )
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def test_a_refusal_repeats_little(gate: GateApplication, known: dict[bytes, bytes]) -> None:
    """No answer to nonsense, of a stranger or a tenant, is much larger than the request, however it was sent."""
    for name, (make, longest) in REQUESTS.items():
        for size in (600, min(longest, 6_000)):
            method, target, fields, body = make(size)
            path, _, query = target.partition("?")
            headers = [HOST, *((key, known.get(value, value)) for key, value in fields)]
            answer: Any = gate.send(
                scope_of(method, path, headers, query_string=query.encode()), body
            )
            if answer.status >= 400 and path != "/sign-in":
                assert len(answer.body) <= 2_048 + 2 * size, (name, answer.status, len(answer.body))
