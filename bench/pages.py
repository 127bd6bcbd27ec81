"""The cost of a page to the server: the keys page of a full workspace, against a page without rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from bench.figures import Figure, at_most, durations, goal, side_by_side
from bench.installations import FilledInstallation, filled
from keystead.developer_area import create_developer_area
from keystead.developer_area.sign_in.cookies import SESSION
from keystead.domain.instants import to_microseconds
from keystead.domain.principals import Principal
from keystead.http.asgi import App, Scope
from keystead.http.client import Client, begin_record
from keystead.http.head import Head

KEYS = 1_000
CALLS = 60
ORIGIN = "http://127.0.0.1:8080"


def figures() -> Iterator[Figure]:
    """Measure the list of keys, its History, and one key's own page."""
    with filled(KEYS) as setup, asyncio.Runner() as runner:
        _use_and_end_some(setup)
        app = create_developer_area(setup.installation.services, base_url=ORIGIN)
        session = _signed_in(setup)
        keys = f"/w/{setup.owner.workspace_id}/keys"
        static = _page(runner, app, "/sign-in", "")
        for name, path in (("keys page", keys), ("page of one key", _one(setup, keys))):
            ours, floor = side_by_side(_page(runner, app, path, session), static, CALLS)
            yield from durations(f"{name}, {KEYS:,} keys", ours, floor)
            if path == keys:
                title = "keys page with 50 rows, in process, median"
                yield goal(title, ours.median / 1000, "ms", at_most(3.5))


def _use_and_end_some(setup: FilledInstallation) -> None:
    """Give every second key uses by several callers, and every tenth a successor: rows of all kinds."""
    services = setup.installation.services
    now = services.keys.now()
    for number, token in enumerate(setup.tokens):
        user = Principal.of_key(
            token.key_id, "bench", setup.owner.workspace_id, setup.owner.scopes, None
        )
        for ago in range(10 if number % 2 else 0):
            at = to_microseconds(now - timedelta(days=ago))
            services.usage.note(user, at, f"10.0.0.{ago}", "bench/1.0")
    services.usage.flush()
    for token in setup.tokens[::10]:
        services.rotations.rotate(setup.owner, token.key_id, overlap=timedelta(hours=1))


def _signed_in(setup: FilledInstallation) -> str:
    """Return the secret of a session of the owner's."""
    services = setup.installation.services
    link, _ = services.sign_in.make_link(services.workspaces.owner(setup.owner.workspace_id))
    return services.sign_in.redeem(link).secret.reveal()


def _one(setup: FilledInstallation, keys: str) -> str:
    return f"{keys}/{setup.tokens[1].key_id}"


def _page(runner: asyncio.Runner, app: App, path: str, session: str) -> Callable[[], object]:
    """Request a page directly from the application; AssertionError unless the status is 200."""
    headers = [(b"host", b"127.0.0.1:8080"), (b"cookie", f"{SESSION}={session}".encode())]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8080),
    }

    async def ask() -> None:
        statuses: list[int] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        request_scope: Scope = dict(scope)
        client = Client("127.0.0.1", "bench", "req_bench", secure=False, private=True)
        begin_record(request_scope, client, Head(headers))
        await app(request_scope, receive, send)
        assert statuses == [200], statuses

    return lambda: runner.run(ask())
