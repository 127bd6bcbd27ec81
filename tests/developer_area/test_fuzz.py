"""Hostile requests to the Developer area: every route, every method, and no status above 499."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import parse_qsl, quote_from_bytes, unquote_to_bytes, urlsplit

import pytest

from keystead.developer_area.sign_in.cookies import DEVICE, KEPT_FORM, SESSION
from keystead.developer_area.web.forms import FORM_TOKEN, form_token
from keystead.domain.token import Secret
from keystead.http.asgi import Message, Scope
from tests.support.sample_workspace import PASSWORD
from tests.support.surface import FurnishedArea, Survey

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "X")
SEED: Final = 20261201
HOSTILE: Final[Sequence[bytes]] = (
    b"",
    b" ",
    b"\x00",
    b"\xff\xfe",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    "é".encode(),
    "\u202e\u200b\ufeff".encode(),
    "٣²Ⅷ".encode(),
    "ﷺ".encode() * 40,
    b"%",
    b"%zz",
    b"\r\n\r\nX: y",
    b"-1",
    b"0",
    b"9" * 400,
    b"1e999",
    b"NaN",
    b"0001-01-01",
    b"9999-12-31",
    b"2026-02-30",
    b"../../../x",
    b"//evil.example",
    b"\\\\evil",
    b"null",
    b"[[]]",
    b'{"a":' * 50,
    b"WzEsMiwzXQ",
    b"bnVsbA",
    b"=" * 5,
    b"a@[",
    b"a,b@example.com",
    b"x" * 3000,
    b"{{7*7}}{% raw %}",
    b"<script>",
    b"ks_0000000000000000000000",
    b"on",
    b"active",
    b"owner",
    b"full",
    b"*",
)
"""Bytes for a field, a part of a path, or a parameter."""
NAMES: Final = ("proof_password", "cursor", "link", "next", "query", "type", "status", "confirm")
"""Parameters for every route, whether it has them or not."""


@dataclass(frozen=True)
class Request:
    """One request, byte for byte."""

    method: str
    path: bytes
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""


class Fuzzer:
    """A generator of requests that is deterministic for each seed."""

    def __init__(self, survey: Survey, furnished: FurnishedArea, seed: int) -> None:
        self.random = Random(seed)
        self.furnished, self._now = furnished, survey.visitors["owner"].at
        self.routes = sorted(survey.routes, key=lambda route: route.path)
        self._paths = _paths_by_pattern(survey)
        self._fields = _fields_by_pattern(survey)
        self._queries = sorted({n for seen in survey.pages for n in _query_names(seen.path)})

    def requests(self, rounds: int) -> Iterator[Request]:
        """Yield `rounds` requests for each method of each route, in sessions of each kind."""
        for route in self.routes:
            taken = route.methods or set()
            for method, turn in itertools.product(METHODS, range(rounds)):
                if method in taken:
                    yield self._request(route.path, method, self._secret())
                elif not turn:  # methods that the route does not have are all refused alike
                    yield self._request(route.path, method, Secret.fresh())

    def _request(self, pattern: str, method: str, secret: Secret) -> Request:
        path = self._path(pattern)
        headers = [(b"host", b"keys.example"), *self._cookies(secret), *self._strange_headers()]
        query = self._pairs([*self._queries, *NAMES])
        if method != "POST":
            return Request(method, path, query, tuple(headers))
        kind = self.random.choice(
            [b"application/x-www-form-urlencoded"] * 8 + [b"", b"text/x; \xff"]
        )
        headers += [(b"content-type", kind), (b"sec-fetch-site", b"same-origin")]
        return Request(method, path, query, tuple(headers), self._body(pattern, secret))

    def _secret(self) -> Secret:
        """Return the secret of an owner's session, authenticated just now or long ago, or of a stranger."""
        kind = self.random.choice(["fresh", "stale", "stale", "none"])
        if kind == "none":
            return Secret.fresh()
        sign_in, clock = self.furnished.area.services.sign_in, self.furnished.area.clock
        clock.set(self._now - timedelta(minutes=16 if kind == "stale" else 0))
        secret = sign_in.redeem(sign_in.make_link(self.furnished.area.owner)[0]).secret
        clock.set(self._now)
        return secret

    def _path(self, pattern: str) -> bytes:
        real = self.random.choice(self._paths.get(pattern) or [pattern])
        parts = [
            self._hostile_part() if self.random.random() < 0.1 and "{" in segment else part.encode()
            for segment, part in zip(pattern.split("/"), real.split("/"), strict=True)
        ]
        return b"/".join(parts)

    def _hostile_part(self) -> bytes:
        return quote_from_bytes(self._hostile(), safe="").encode() or b"x"

    def _hostile(self) -> bytes:
        return self.random.choice(HOSTILE)

    def _pairs(self, names: Sequence[str]) -> bytes:
        chosen = self.random.sample(names, k=self.random.choice([0, 0, 1, 2]))
        return b"&".join(name.encode() + b"=" + self._written() for name in chosen)

    def _written(self) -> bytes:
        """Return a hostile value, escaped as a careful client does, or raw."""
        value = self._hostile()
        if self.random.random() < 0.6:
            return quote_from_bytes(value, safe="").encode()
        return value.translate(None, b"\x00\r\n\t ")

    def _body(self, pattern: str, secret: Secret) -> bytes:
        """Return the fields of one of the route's forms, some with hostile values, and this browser's token."""
        fields = dict(self.random.choice(self._fields.get(pattern) or [{}]))
        written = {
            name: quote_from_bytes(value.encode()).encode() for name, value in fields.items()
        }
        known = [*written, *NAMES]
        for name in self.random.sample(known, k=min(len(known), self.random.choice([0, 1, 1, 3]))):
            written[name] = self._written()
        if self.random.random() < 0.3:
            proof = self.random.choice([PASSWORD, "wrong", ""])
            written["proof_password"] = quote_from_bytes(proof.encode()).encode()
        if self.random.random() < 0.9:
            written[FORM_TOKEN] = form_token(secret).encode()
        pairs = [name.encode() + b"=" + value for name, value in written.items()]
        twice = self.random.sample(pairs, k=1) if pairs and self.random.random() < 0.1 else []
        return b"&".join([*pairs, *twice])

    def _cookies(self, secret: Secret) -> list[tuple[bytes, bytes]]:
        line = f"{SESSION}={secret.reveal()}".encode()
        for name in self.random.sample(
            (KEPT_FORM, DEVICE, "__Host-x"), k=self.random.choice([0, 1, 2])
        ):
            line += b"; " + name.encode() + b"=" + self._hostile().translate(None, b"\x00\r\n")
        return [(b"cookie", line)]

    def _strange_headers(self) -> list[tuple[bytes, bytes]]:
        names = (
            b"user-agent",
            b"accept-language",
            b"hx-request",
            b"accept-encoding",
            b"if-none-match",
        )
        chosen = self.random.sample(names, k=self.random.choice([0, 1, 2]))
        return [(name, self._hostile().translate(None, b"\x00\r\n")) for name in chosen]


def _paths_by_pattern(survey: Survey) -> Mapping[str, list[str]]:
    by_pattern: dict[str, set[str]] = {}
    requested = [seen.path for seen in survey.pages] + [form.action for _, form in survey.forms]
    for url, route in itertools.product(
        sorted({urlsplit(u).path for u in requested}), survey.routes
    ):
        if route.path_regex.match(url) and url.count("/") == route.path.count("/"):
            by_pattern.setdefault(route.path, set()).add(url)
    return {pattern: sorted(paths) for pattern, paths in by_pattern.items()}


def _fields_by_pattern(survey: Survey) -> Mapping[str, list[dict[str, str]]]:
    fields: dict[str, list[dict[str, str]]] = {}
    for _, form in survey.forms:
        fields.setdefault(form.pattern, []).append(dict(form.filled()))
    return fields


def _query_names(url: str) -> set[str]:
    return {name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)}


async def answer(furnished: FurnishedArea, request: Request) -> int:
    """Send the request directly to the application and return the status."""
    scope: Scope = {
        "type": "http",
        "http_version": "1.1",
        "method": request.method,
        "scheme": "https",
        "path": _decoded(request.path),
        "raw_path": request.path,
        "query_string": request.query,
        "root_path": "",
        "headers": list(request.headers),
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 443),
    }
    statuses: list[int] = []
    arriving = iter([{"type": "http.request", "body": request.body, "more_body": False}])

    async def receive() -> Message:
        for message in arriving:
            return message
        await asyncio.Event().wait()  # the client stays connected
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await furnished.area.app(scope, receive, send)
    assert len(statuses) == 1, request
    return statuses[0]


def _decoded(path: bytes) -> str:
    """Decode the path as granian does for applications."""
    return unquote_to_bytes(path).decode(errors="replace")


def fuzz(survey: Survey, folder: Path, seed: int, rounds: int) -> tuple[int, set[int]]:
    """Return the number of requests and the statuses of their responses; raise AssertionError above 499."""
    with survey.copied(folder) as furnished:
        fuzzer, statuses, count = Fuzzer(survey, furnished, seed), set(), 0

        async def run() -> None:
            nonlocal count
            for request in fuzzer.requests(rounds):
                status = await answer(furnished, request)
                assert status < 500 or status == 501, (seed, count, request)
                statuses.add(status)
                count += 1

        asyncio.run(run())
    return count, statuses


def test_no_request_breaks_a_page(survey: Survey, tmp_path: Path) -> None:
    """Hostile fields, queries, cookies and bytes to every route by every method never cause a 5xx."""
    count, statuses = fuzz(survey, tmp_path, SEED, rounds=2)
    assert count >= len(survey.routes) * len(METHODS)
    assert {200, 303, 403, 404, 422} <= statuses


@pytest.mark.prove
@pytest.mark.parametrize("seed", range(20))
def test_no_request_of_many_breaks_a_page(survey: Survey, tmp_path: Path, seed: int) -> None:
    """The same with another seed, and many more requests."""
    assert fuzz(survey, tmp_path, seed, rounds=40)[0] >= len(survey.routes) * len(METHODS)
