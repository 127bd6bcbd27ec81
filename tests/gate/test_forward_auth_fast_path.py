"""The fast path accepts only what the stack would accept, with exactly the same response."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keystead.gate.fast_path import ForwardAuthFastPath, RequiredScopes
from keystead.gate.forward_auth import PREFIX, ForwardAuth
from keystead.http.client import parse_proxies
from keystead.http.head import Head
from keystead.http.problems import Problems
from tests.support.asgi import HOST, Response, scope_of
from tests.support.gate import IDENTITY, GateApplication, bearer, gate_of
from tests.support.installations import SandboxInstallation, text_of
from tests.support.request_heads import FIELDS, HOSTS, PEER, PROXY, VALUES, mostly

RAW = b"/forward-auth/any"
_COUNTED: list[tuple[str, str, int]] = []


class Both:
    """One application twice: unchanged, and without its fast path."""

    def __init__(self, gate: GateApplication) -> None:
        def make() -> ForwardAuth:
            return ForwardAuth(
                gate.sandbox.services,
                Problems("https://keys.example.com"),
                proxies=parse_proxies([PROXY]),
                on_response=lambda *told: _COUNTED.append(told[:3]),
            )

        self.gate, self.fast, self.whole = gate, make(), make()
        self.whole._fast_path.read = lambda scope: None  # type: ignore[method-assign]

    def ask(self, scope: dict[str, Any]) -> tuple[Response, Response]:
        """Return both responses to the same request."""
        answers = []
        for app in (self.fast, self.whole):
            self.gate.app = app
            answers.append(self.gate.send({**scope, "state": {}}))
        return answers[0], answers[1]


@pytest.fixture(scope="module")
def both(shared_sandbox: SandboxInstallation, runner: asyncio.Runner) -> Both:
    """Both applications, over the file's installation."""
    return Both(gate_of(shared_sandbox, runner))


@pytest.fixture(scope="module")
def tokens(shared_sandbox: SandboxInstallation) -> list[bytes]:
    """A good token and a dead one."""
    tenant = shared_sandbox.tenant()
    keys = [shared_sandbox.key(tenant, scopes=("documents:read",)) for _ in range(2)]
    shared_sandbox.services.keys.revoke(tenant, keys[1].key.id)
    return [text_of(key).encode() for key in keys]


SCHEME = mostly(b"Bearer ", b"bearer ", b"Bearer  ", b"Bearer\t", b" Bearer ", b"Basic ", b"")
TAIL = mostly(b"", b" ", b",", b", Bearer x", b"=", b"\xe9", b"\r\n")
MORE = mostly(
    [],
    [(b"user-agent", b"curl/8")],
    [(b"user-agent", b"a\nb")],
    [(b"x-forwarded-for", b"203.0.113.9")],
    [(b"x-forwarded-for", b"198.51.100.1, 203.0.113.9"), (b"x-forwarded-proto", b"https")],
    [(b"x-forwarded-proto", b"https")],
    [(b"x-forwarded-proto", b"https"), (b"x-forwarded-proto", b"http")],
    [(b"user-agent", b"a" * 2000)],
    [(b"x-big", b"y" * 40_000)],
    [(b"transfer-encoding", b"gzip, chunked")],
    [(b"content-length", b"99999999999")],
    [(b"content-length", b"0")],
    [(b"transfer-encoding", b"chunked")],
    [(b"x-keystead-gateway", b"nginx")],
    [(b"authorization", b"Bearer x")],
    [(b"x-%d" % number, b"y") for number in range(98)],
    [(b"x-%d" % number, b"y") for number in range(99)],
)
PATH = mostly(
    b"/documents:read",
    b"/documents:read/a%2Fb",
    b"/any",
    b"/%61ny",
    b"//any",
    b"/plan:read",
    b"",
    b"/*",
)
QUERY = mostly(b"", b"a=b", b"access_token=x", b"q" * 8192, b"%00")
METHOD = mostly("GET", "POST", "LOCK", "TRACE", "CONNECT")


@pytest.mark.slow_on("postgresql")
@settings(max_examples=400)
@given(data=st.data())
def test_both_paths_agree(both: Both, tokens: list[bytes], data: st.DataObject) -> None:
    """For any head: the same status, the same identity, the same body, counted alike."""
    draw = data.draw
    token = draw(mostly(tokens[0], tokens[1]))
    field = (b"authorization", draw(SCHEME) + token + draw(TAIL))
    scope = scope_of(
        draw(METHOD),
        "/forward-auth/x",
        [*draw(HOSTS), field, *draw(MORE)],
        raw_path=b"/forward-auth" + draw(PATH),
        query_string=draw(QUERY),
        client=draw(PEER),
        scheme=draw(mostly("http", "https")),
        http_version=draw(mostly("1.1", "1.0")),
    )
    agree(both, scope)


def agree(both: Both, scope: dict[str, Any]) -> None:
    """Check that both applications answer and count a request alike."""
    fast, whole = both.ask(scope)
    assert (fast.status, fast.body) == (whole.status, whole.body)
    for name in (*IDENTITY, "cache-control", "www-authenticate", "x-keystead-denied-status"):
        assert fast.header(name) == whole.header(name)
    assert _COUNTED[-2] == _COUNTED[-1]


@pytest.mark.parametrize("name", [*FIELDS, "authorization"])
@pytest.mark.parametrize("peer", ["127.0.0.1", PROXY])
def test_one_hostile_field(both: Both, tokens: list[bytes], name: str, peer: str) -> None:
    """With any value of a field, the fast path answers as the full path, or leaves the request to it."""
    for value in VALUES:
        fields = {b"host": HOST[1], b"authorization": b"Bearer " + tokens[0]}
        fields[name.encode()] = fields.get(name.encode(), b"") * (name == "authorization") + value
        agree(both, scope_of(headers=fields.items(), raw_path=RAW, client=(peer, "5")))


def test_good_requests_skip_the_stack(both: Both, tokens: list[bytes]) -> None:
    """The two paths differ: a good request does not reach the stack, which would give its response an ID."""
    scope = scope_of(headers=[HOST, *bearer(tokens[0].decode())], raw_path=b"/forward-auth/any")
    fast, whole = both.ask(scope)
    assert (fast.status, whole.status) == (200, 200)
    assert fast.header("x-request-id") is None
    assert whole.header("x-request-id") is not None


UNREAD = [b"%s ", b" %s", b"%s=", b"%s,", b"%s, Bearer x", b"%s\xe9", b"%s-", b"%s" * 4]
"""What the fast path does not read: spellings that only the whole path judges, and what is longer than a token."""


@pytest.mark.parametrize("spelling", UNREAD)
def test_only_a_plain_credential_is_read(both: Both, tokens: list[bytes], spelling: bytes) -> None:
    """Each token is verified, and counted, once: what the two paths could read differently is left to the whole one."""
    fields = [HOST, (b"authorization", b"Bearer " + spelling.replace(b"%s", tokens[0]))]
    scope = scope_of(headers=fields, raw_path=RAW)
    assert both.fast._fast_path.read(scope) is None
    plain = scope_of(headers=[HOST, *bearer(tokens[0].decode())], raw_path=RAW)
    assert both.fast._fast_path.read(plain) is not None
    agree(both, scope)


def test_a_websocket_is_left_to_the_stack(both: Both, tokens: list[bytes]) -> None:
    """Its scope has no method, so the fast path must not judge it; the stack closes it."""
    scope = scope_of(headers=[HOST, *bearer(tokens[0].decode())], raw_path=RAW)
    del scope["method"]
    assert both.fast._fast_path.read({**scope, "type": "websocket"}) is None


@pytest.mark.parametrize(("size", "status"), [(32, 200), (33, 431), (40, 431)])
def test_a_head_has_one_bound(both: Both, tokens: list[bytes], size: int, status: int) -> None:
    """A head over its bound is refused on both paths, although the server reads slightly more."""
    fields = [HOST, *bearer(tokens[0].decode())]
    fields.append((b"x", b"y" * (size * 1024 - Head(fields).block - len(b"x: \r\n"))))
    assert Head(fields).block == size * 1024
    scope = scope_of(headers=fields, raw_path=b"/forward-auth/any")
    fast, whole = both.ask(scope)
    assert (fast.status, whole.status) == (status, status)


@pytest.mark.parametrize("name", [b"user-agent", b"host", b"x-forwarded-for"])
def test_the_cache_keeps_few_bytes_of_strangers(
    shared_sandbox: SandboxInstallation, tokens: list[bytes], name: bytes
) -> None:
    """The fields that say where a request comes from become a cache's key only if they are short."""
    services = shared_sandbox.services
    plain = ForwardAuthFastPath(
        RequiredScopes(services.keys.catalog, PREFIX), parse_proxies([PROXY])
    )
    for length in (8, 16, 2000, 4000, 8000, 32_000):
        fields = {b"host": b"a", b"authorization": b"Bearer x", name: b"a" * length}
        scope = scope_of(
            headers=list(fields.items()), raw_path=b"/forward-auth/any", client=(PROXY, "5")
        )
        plain.read(scope)
    assert plain._origins._cached.cache_info().currsize == 2


def test_the_caller_behind_a_proxy(both: Both, shared_sandbox: SandboxInstallation) -> None:
    """The caller is the last address that isn't a configured proxy; from other peers the field is ignored."""
    tenant = shared_sandbox.tenant()
    key = shared_sandbox.key(tenant)
    forwarded = [
        (b"x-forwarded-for", b"198.51.100.1, 203.0.113.9"),
        (b"x-forwarded-proto", b"https"),
    ]
    for peer, caller in ((PROXY, "203.0.113.9"), ("127.0.0.1", "127.0.0.1")):
        scope = scope_of(
            headers=[HOST, *bearer(text_of(key)), *forwarded],
            raw_path=b"/forward-auth/any",
            client=(peer, "5"),
        )
        fast, whole = both.ask(scope)
        assert (fast.status, whole.status) == (200, 200)
        shared_sandbox.flush()
        shared_sandbox.clock.advance(seconds=1)
        own = shared_sandbox.services.keys.get(tenant, key.key.id)
        assert own.last_use is not None
        assert own.last_use.address == caller
        callers = shared_sandbox.services.usage.callers(tenant, key.key.id)
        assert {c.caller.address: c.times for c in callers}[caller] == 2
