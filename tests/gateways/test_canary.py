"""Secrets pushed through the shipped configurations are in no log, whether the servers behind them answer or not."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from secrets import token_urlsafe
from urllib.parse import quote

import pytest

from tests.support.canary_secrets import Secrets
from tests.support.gateways import EACH, NGINX, Gateway, deployed, running
from tests.support.raw_http import Field, Recorder, ask, bearer
from tests.support.server_process import ServerProcess

PATHS = ("/documents", "/sign-in", "/invitation", "/v1/keys", "/else")
NOBODY = 1
"""A port at which nothing listens."""
KEPT = ("nginx.conf", "Caddyfile", "traefik.yml", "traefik-routes.yml", "envoy.yaml")


def secrets(keystead: ServerProcess) -> Secrets:
    """A live token, one that is nearly it, a sign-in link, and bytes that URLs must escape."""
    token = keystead.token("documents:read")
    link = token_urlsafe(32)
    return Secrets(
        {"token": token, "near miss": token[::-1], "link": link, "escaped": "a+b/c=" * 8 + "d&e"}
    )


def places(secret: str) -> Iterator[tuple[str, list[Field]]]:
    """What is behind a path, and the fields, of requests that carry a secret by mistake."""
    quoted = quote(secret, safe="")
    basic = base64.b64encode(f"{secret}:x".encode()).decode()
    yield f"?access_token={quoted}", []
    yield f"?link={quoted}", [bearer(secret)]
    yield f"/{quoted}", []
    yield f"/a/{quoted}/b?c={quoted}", [("Authorization", f"Basic {basic}")]
    yield quoted, []
    yield f"//{quoted}", []
    yield "", [("Authorization", secret), ("User-Agent", secret), ("Referer", f"http://a/{quoted}")]
    yield (
        "",
        [("Cookie", f"a={secret}"), ("X-Forwarded-For", secret), ("Origin", f"http://{quoted}")],
    )
    yield "", [("User-Agent", f"\x01{secret}")]
    yield "", [("Host", quoted)]
    yield "", [(secret, "x"), ("X-Request-Id", secret)]


def push(port: int, known: Secrets) -> int:
    """Each secret in each place of each path; how many requests were answered."""
    answered = 0
    for secret in known.texts.values():
        for path in PATHS:
            for end, fields in places(secret):
                with suppress(OSError, HTTPException):
                    ask(port, path + end, fields)
                    answered += 1
    return answered


def logs(folder: Path) -> dict[str, bytes]:
    """What the gateway wrote: to its logs, and to standard output and error."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and path.name not in KEPT
    }


def betrayed(folder: Path, known: Secrets) -> dict[str, list[str]]:
    """Return which secrets are in which file."""
    found = {name: known.found_in(content) for name, content in logs(folder).items()}
    return {name: names for name, names in found.items() if names}


@pytest.fixture(scope="module")
def known(keystead: ServerProcess) -> Secrets:
    """What no log may hold."""
    return secrets(keystead)


@pytest.mark.parametrize("gateway", EACH)
def test_no_gateway_logs_a_secret(
    gateway: Gateway, keystead: ServerProcess, behind: Recorder, known: Secrets, tmp_path: Path
) -> None:
    """While all answer, while the application is away, and while Keystead is."""
    for servers in ((keystead.port, behind.port), (keystead.port, NOBODY), (NOBODY, behind.port)):
        with running(gateway, tmp_path, *servers) as port:
            assert push(port, known) > 150
        assert betrayed(tmp_path, known) == {}
    if gateway is NGINX:
        statuses = {line.split(b'" ')[1][:3] for line in logs(tmp_path)["access.log"].splitlines()}
        assert {b"200", b"400", b"401", b"404", b"502", b"503"} <= statuses


def test_the_proxy_before_keystead_logs_no_secret(
    keystead: ServerProcess, known: Secrets, tmp_path: Path
) -> None:
    """While Keystead answers, and while it is down: a link that it could not redeem is still good."""
    for server in (keystead.port, NOBODY):
        with deployed(tmp_path, server, _at_any_rate) as port:
            assert push(port, known) > 150
        assert betrayed(tmp_path, known) == {}
    statuses = {line.split(b'" ')[1][:3] for line in logs(tmp_path)["keystead.log"].splitlines()}
    assert {b"200", b"401", b"404", b"502"} <= statuses
    assert "keystead.error.log" in logs(tmp_path)


def _at_any_rate(configuration: str) -> str:
    return configuration.replace("rate=50r/s", "rate=100000r/s")


@pytest.mark.parametrize("kind", ["access", "error"])
def test_the_search_finds_what_nginx_logs_by_itself(tmp_path: Path, kind: str) -> None:
    """With nginx's own format, or its own level, secrets are found."""

    def changed(configuration: str) -> str:
        if kind == "access":
            return configuration.replace("access.log keystead;", "access.log combined;")
        return configuration.replace("error.log emerg;", "error.log;")

    known = Secrets(
        {"token": "ks_02tcRIyrxLXTR81B3dqdOx_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf2aDLy9"}
    )
    with running(NGINX, tmp_path, NOBODY, NOBODY, changed) as port:
        push(port, known)
    assert betrayed(tmp_path, known) == {f"{kind}.log": ["token"]}
