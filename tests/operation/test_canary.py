"""Secrets sent to every endpoint at debug level appear in no log, no metric and no file of the database."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx2
import pytest

from keystead import bootstrap
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import system
from keystead.domain.token import Token
from tests.support.canary_secrets import Secrets
from tests.support.server_process import HOST, ServerProcess, free_port, serving

API: Final[Sequence[tuple[str, str]]] = [
    (method.upper(), path)
    for file in ("openapi.json", "openapi-operator.json")
    for path, methods in json.loads((Path(__file__).parents[2] / file).read_text())["paths"].items()
    for method in methods
]
PAGES: Final = (("GET", "/"), ("GET", "/sign-in"), ("POST", "/sign-in"), ("POST", "/sign-out"), ("GET", "/docs"),
    ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/problems/not-found"), ("GET", "/static/x/y"))  # fmt: skip


@dataclass
class SampleWorkspace:
    """A running server and the secrets of its users."""

    server: ServerProcess
    secrets: Secrets
    metrics_port: int
    http: httpx2.Client

    def push(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> int:
        """Send one request. Returns the status."""
        return self.http.request(method, path, headers=dict(headers), content=body).status_code

    def seen(self) -> dict[str, bytes]:
        """Return everything that the server has written, except the peppers."""
        files = [path for path in self.server.data.iterdir() if path.name != "peppers"]
        return {path.name: path.read_bytes() for path in files}

    def leaked(self) -> dict[str, list[str]]:
        """Return the secrets that appear in what the server has written."""
        leaks = {name: self.secrets.found_in(content) for name, content in self.seen().items()}
        return {name: names for name, names in leaks.items() if names}


@pytest.fixture
def sample(tmp_path: Path) -> Iterator[SampleWorkspace]:
    """A server at debug level over SQLite, behind a proxy so that it prints no link; a session, links and keys."""
    port = free_port()
    with (
        serving(
            f"sqlite:///{tmp_path / 'keystead.db'}",
            arguments=("--log-level", "debug", "--metrics-port", str(port)),
            environment={"KEYSTEAD_PUBLIC_URL": "https://keys.example.com"},
        ) as server,
        httpx2.Client(base_url=server.base_url, trust_env=False, timeout=20) as http,
    ):
        yield SampleWorkspace(server, Secrets(_made(server)), port, http)


def _made(server: ServerProcess) -> dict[str, str]:
    installation = bootstrap.open_safely(server.settings)
    try:
        services = installation.services
        owner = services.workspaces.first()
        services.workspaces.set_plan(owner.workspace_id, "scale")
        maker = system(owner.workspace_id)
        live, revoked = (
            services.keys.create(maker, KeyDraft(name)) for name in ("live", "revoked")
        )
        services.keys.revoke(maker, revoked.key.id)
        spent, _ = services.sign_in.make_link(owner)
        unspent, _ = services.sign_in.make_link(owner)
        session = services.sign_in.redeem(spent).secret
        token = _text(live.token)
        return {
            "live token": token,
            "revoked token": _text(revoked.token),
            "near miss": token[:-1] + ("0" if token[-1] != "0" else "1"),
            "another secret": token[:26] + token[27:70][::-1] + token[70:],
            "session": session.reveal(),
            "spent link": spent.reveal(),
            "unspent link": unspent.reveal(),
            "pepper": (server.data / "peppers").read_text().partition(":")[2].strip(),
        }
    finally:
        installation.close()


def _text(token: Token | None) -> str:
    assert token is not None
    return token.reveal()


def _places(secret: str, live: str) -> Iterator[tuple[str, dict[str, str], bytes]]:
    """Yield a request for every place that may contain a secret by mistake: end of the path, headers, body."""
    bearer = {"authorization": f"Bearer {live}"}
    typed = bearer | {"content-type": "application/json"}
    quoted = quote(secret, safe="")
    basic = base64.b64encode(f"{secret}:{secret}".encode()).decode()
    yield "", {"authorization": f"Bearer {secret}"}, b""
    yield "", {"authorization": f"Basic {basic}"}, b""
    yield "", {"authorization": secret}, b""
    yield f"?access_token={quoted}", {}, b""
    yield f"?limit={quoted}&cursor={quoted}&query={quoted}&link={quoted}", bearer, b""
    yield f"/{quoted}", bearer, b""
    for header in (
        "x-api-key",
        "user-agent",
        "referer",
        "x-forwarded-for",
        "x-request-id",
        "origin",
        "cookie",
    ):
        yield "", bearer | {header: secret}, b""
    yield "", {"cookie": f"__Host-keys={secret}"}, b""
    yield "", typed, json.dumps({secret: secret, "description": None}).encode()
    yield "", typed, b'{"description": "' + secret.encode()
    yield "", typed, json.dumps([secret]).encode()
    form = {
        "content-type": "application/x-www-form-urlencoded",
        "origin": "https://keys.example.com",
    }
    yield "", bearer | form, f"link={quoted}&form={quoted}".encode()
    yield "", bearer | {"content-type": secret}, secret.encode()


def _push_everywhere(sample: SampleWorkspace) -> list[int]:
    """Combine each endpoint with each place, rotating the secrets, and each secret with each place of one endpoint."""
    texts = sample.secrets.texts
    live, turn = texts["live token"], cycle(texts.values())
    statuses = []
    for method, template in (*API, *PAGES):
        path = template.replace("{name}", "none").replace("{id}", "key_0000000000000000000000")
        for end, headers, body in _places(next(turn), live):
            statuses.append(sample.push(method, path + end, headers, body))
    for secret in texts.values():
        for end, headers, body in _places(secret, live):
            statuses.append(sample.push("POST", "/v1/keys" + end, headers, body))
    return statuses


@contextmanager
def _broken(sample: SampleWorkspace) -> Iterator[None]:
    """Take the table of events away, so that each change fails within a statement."""
    file = sample.server.data / "keystead.db"
    for statement in ("ALTER TABLE events RENAME TO gone", "ALTER TABLE gone RENAME TO events"):
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            database.execute(statement)
        if "TO gone" in statement:
            yield


def _force_failures(sample: SampleWorkspace) -> list[int]:
    """Make ten changes whose values contain secrets; each fails after its values have gone into a statement."""
    texts = list(sample.secrets.texts.values())
    headers = {"authorization": f"Bearer {texts[0]}", "content-type": "application/json"}
    calls: list[tuple[str, str, Any]] = [
        ("POST", "/v1/collections", {"name": f"c{n}", "title": texts[n % len(texts)]})
        for n in range(5)
    ]
    calls += [
        (
            "PUT",
            f"/v1/collections/kept/documents/d{n}",
            {"title": "x", "text": texts[n % len(texts)]},
        )
        for n in range(5)
    ]
    return [sample.push(m, path, headers, json.dumps(body).encode()) for m, path, body in calls]


def test_no_secret_is_seen_anywhere(sample: SampleWorkspace) -> None:
    """Tokens, session, links and pepper, in every place of every endpoint and in failing statements: none appears."""
    live = {"authorization": f"Bearer {sample.secrets.texts['live token']}"}
    typed = live | {"content-type": "application/json"}
    assert sample.push("POST", "/v1/collections", typed, b'{"name": "kept"}') == 201
    statuses = _push_everywhere(sample)
    assert len(statuses) > 500
    assert max(statuses) < 500
    with _broken(sample):
        assert _force_failures(sample) == [500] * 10
    assert sample.push("GET", "/v1/whoami", live) == 200
    metrics = httpx2.get(f"http://{HOST}:{sample.metrics_port}/metrics", trust_env=False).content
    assert sample.server.log().count('"event": "failure"') >= 10
    assert {"keystead.db", "keystead.db-wal", "log"} <= sample.seen().keys()
    assert not sample.leaked()
    assert not sample.secrets.found_in(metrics)
    assert sample.server.stop() == 0
    assert sample.server.log().count('"event": "request"') > len(statuses)
    assert not sample.leaked()


@pytest.mark.parametrize("secret", ["ks_02tcRIyrxLXTR81B3dqdOx_003aUlTJC7tjlCTQj2u", "a+b/c=" * 8])
def test_a_secret_is_found_however_it_is_written(secret: str) -> None:
    """The search finds a secret raw, cut, in hex, in base64 after other text, URL-encoded, and reversed."""
    secrets = Secrets({"it": secret})
    raw = secret.encode()
    written = [
        raw,
        raw[5:],
        raw.hex().encode(),
        raw.hex().upper().encode(),
        raw[::-1],
        quote(secret, safe="").encode(),
    ]
    written += [base64.b64encode(b"x" * n + raw) for n in range(7)]
    written += [base64.urlsafe_b64encode(b"x" * n + raw + b"y") for n in range(7)]
    assert [secrets.found_in(b"before " + way + b" after") for way in written] == [["it"]] * len(
        written
    )
    assert secrets.found_in(b"nothing of it here") == []
