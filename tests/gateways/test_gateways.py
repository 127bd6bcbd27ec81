"""The requests that each gateway accepts with the configuration of the guide, and those it refuses."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest

from keystead.domain.errors import KeysteadError, RateLimited, Unavailable
from keystead.domain.key_metadata import compact_json
from keystead.gate.forward_auth import ForwardAuth
from keystead.http.problems import Problems
from tests.gateways.conftest import Site
from tests.support.gateways import ALL, ENVOY, NGINX, ORIGIN, TRAEFIK, Gateway, running
from tests.support.raw_http import (
    Request,
    Response,
    application,
    ask,
    bearer,
    open_connection,
    recorder,
)
from tests.support.server_process import HOST, ServerProcess, serving

TWO = {(400, "invalid-request"), (401, "invalid-request"), (401, "invalid-token")}
IDENTITY = (
    "x-keystead-workspace",
    "x-keystead-key",
    "x-keystead-scopes",
    "x-keystead-metadata",
)
WELL_FORMED = "ks_02tcRIyrxLXTR81B3dqdOx_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf2aDLy9"
FORWARDED = [("X-Forwarded-For", "203.0.113.66"), ("X-Forwarded-Proto", "https")]
SPELLINGS = {
    "as it is": "X-Keystead-{}",
    "lower": "x-keystead-{}",
    "upper": "X-KEYSTEAD-{}",
    "mixed": "x-KeyStead-{}",
    "underscores": "X_Keystead_{}",
    "underscores, lower": "x_keystead_{}",
    "underscore last": "X-Keystead_{}",
    "underscore first": "X_Keystead-{}",
    "dots": "X.Keystead.{}",
    "dot last": "X-Keystead.{}",
    "dot and underscore": "x.keystead_{}",
    "dots, upper": "X.KEYSTEAD.{}",
}


def identity(reached: Request) -> list[str]:
    """Return the caller's identity as the application gets it, each field exactly once however it reads names."""
    values = [reached.like(name) for name in IDENTITY]
    assert [len(fields) for fields in values] == [1, 1, 1, 1], values
    return [fields[0][1] for fields in values]


@pytest.mark.slow
def test_a_good_request_passes(site: Site) -> None:
    """The application gets method, path, query, body and the caller's identity, without the key."""
    body = b"a" * 15_000
    reached = site.allowed("/documents/a?b=c&d=%2F", method="POST", body=body)
    assert (reached.method, reached.path, reached.body) == ("POST", "/documents/a?b=c&d=%2F", body)
    workspace, key, scopes, metadata = identity(reached)
    assert workspace.startswith("ws_")
    assert key == f"key_{site.token.split('_')[1]}"
    assert scopes == "documents:read"
    assert metadata == "e30="
    assert reached.like("authorization") == []
    assert site.token not in repr(reached)


@pytest.mark.slow
@pytest.mark.parametrize("gateway", ALL, ids=lambda gateway: gateway.name)
def test_the_largest_identity_passes(gateway: Gateway, tmp_path: Path) -> None:
    """As much metadata and as many scopes as a key may have: more than a gateway's usual buffer of a response."""
    labels = {f"{letter:a<40}": "\u00e9" * 28 for letter in map(chr, range(97, 117))}
    assert len(compact_json(labels)) > 2_000
    scopes = {f"{'resource' * 4}{number}:read": "Read" for number in range(49)}
    body = {"description": "large", "scopes": ["documents:read", *scopes], "metadata": labels}
    environment = {"KEYSTEAD_SCOPES": json.dumps(scopes)}
    with (
        serving(f"sqlite:///{tmp_path / 'keystead.db'}", environment=environment) as keystead,
        recorder(application) as behind,
        running(gateway, tmp_path, keystead.port, behind.port) as port,
    ):
        admin = keystead.token("*", "keys:write")
        created = keystead.call("POST", "/v1/keys", token=admin, json=body)
        assert created.status_code == 201, created.text
        answer = ask(port, "/documents/a", [bearer(created.json()["token"])])
        assert (answer.status, answer.body) == (200, b"application"), answer
        metadata = identity(behind.requests[-1])[3]
    assert json.loads(urlsafe_b64decode(metadata)) == labels


def refusals(site: Site) -> dict[str, tuple[list[tuple[str, str]], str, set[tuple[int, str]]]]:
    """Return requests that are refused: the fields, the path, and the problem that the client gets."""
    revoked = site.keystead.token("documents:read")
    assert site.keystead.call("DELETE", own(site, revoked), token=revoked).status_code == 204
    unauthenticated = {(401, "unauthenticated")}
    invalid = {(401, "invalid-token")}
    return {
        "nothing": ([], "/documents/a", unauthenticated),
        "basic": ([("Authorization", "Basic YTpi")], "/documents/a", unauthenticated),
        "garbage": ([bearer("garbage")], "/documents/a", invalid),
        "unknown": ([bearer(WELL_FORMED)], "/documents/a", invalid),
        "revoked": ([bearer(revoked)], "/documents/a", invalid),
        "scope": ([bearer(site.token)], "/imports/a", {(403, "insufficient-scope")}),
        "in the query": ([], f"/documents/a?access_token={site.token}", unauthenticated),
        "joined": (
            [("Authorization", f"Bearer {site.token}, Bearer {site.token}")],
            "/documents/a",
            {(401, "invalid-request"), (401, "invalid-token")},
        ),
    }


def own(site: Site, token: str) -> str:
    """Return the path of a token's own key."""
    return f"/v1/keys/key_{token.split('_')[1]}"


@pytest.mark.slow
def test_everything_else_is_refused(site: Site) -> None:
    """Each gets its own problem, with its challenge, and nothing reaches the application."""
    before = site.request_count()
    for name, (fields, path, problems) in refusals(site).items():
        for method in ("GET", "POST", "OPTIONS"):
            got = site.ask(path, *fields, method=method)
            assert got.problem() in problems, name
            (challenge,) = got.values("www-authenticate")
            assert challenge.startswith('Bearer realm="keystead"')
            assert ("error=" in challenge) == bool(problems - {(401, "unauthenticated")})
            assert "no-store" in got.values("cache-control")
            assert not [field for field in got.headers if field[0].lower() in IDENTITY]
    assert site.request_count() == before


@pytest.mark.slow
def test_two_authorization_fields_are_refused(site: Site) -> None:
    """Two fields are refused in either order, even if one is good; some gateways do it themselves."""
    good, other = bearer(site.token), bearer(WELL_FORMED)
    before = site.request_count()
    for pair in ((good, other), (other, good), (good, good)):
        assert site.ask("/documents/a", *pair).problem() in TWO
    assert site.request_count() == before


def test_an_empty_authorization_field_next_to_a_good_one(site: Site) -> None:
    """It is refused in either order, but Envoy joins the fields first, so that only the good one is left."""
    empty = ("Authorization", "")
    for pair in ((bearer(site.token), empty), (empty, bearer(site.token))):
        if site.gateway is ENVOY:
            assert ask(site.port, "/documents/a", pair).status == 200
            assert site.application.requests[-1].like("authorization") == []
            continue
        before = site.request_count()
        assert site.ask("/documents/a", *pair).problem() in TWO
        assert site.request_count() == before


STRANGE = {
    "control in the agent": [("User-Agent", "a\x01b")],
    "control in the credential": [("Authorization", "Bearer \x01")],
    "delete in the credential": [("Authorization", "Bearer a\x7f")],
    "eight bits": [("User-Agent", "\xff\x80"), ("Authorization", "Bearer \xff")],
    "long agent": [("User-Agent", "a" * 7000), ("Authorization", "Bearer " + "b" * 7000)],
    "longer agent": [("User-Agent", "a" * 30_000)],
    "endless agent": [("User-Agent", "a" * 70_000)],
    "commas": [("Authorization", ", " * 3000)],
    "many fields": [(f"X-{n}", "a") for n in range(150)],
    "forged status": [("X-Keystead-Denied-Status", "503"), ("X-Keystead-Gateway", "nginx")],
}


@pytest.mark.parametrize("name", STRANGE)
def test_no_client_causes_a_server_error(site: Site, name: str) -> None:
    """Any client error gets a 4xx: a 5xx would wake the operators."""
    before = site.request_count()
    for path in ("/documents/a", "/documents/" + "a" * 5000, "/documents/a?" + "b" * 5000):
        assert 400 <= site.ask(path, *STRANGE[name]).status < 500
    for method in ("TRACE", "PROPFIND"):
        assert 400 <= site.ask("/documents/a", *STRANGE[name], method=method).status < 500
    assert site.request_count() == before


def test_large_bodies(site: Site) -> None:
    """3 MB reach the application unchanged; nginx answers a larger body with a problem."""
    body = b"a" * 3_000_000
    assert site.allowed("/documents/a", method="POST", body=body).body == body
    if site.gateway is NGINX:
        before = site.request_count()
        over = [bearer(site.token), ("Content-Length", str(11 * 2**20))]
        assert ask(site.port, "/documents/a", over, method="POST").problem() == (413, "too-large")
        assert site.request_count() == before


def test_the_application_sees_the_clients_host(site: Site) -> None:
    """The host includes its port: a redirect of the application leads back to the gateway."""
    reached = site.allowed("/documents")
    assert [value for _, value in reached.like("host")] == ["app.example.com:8443"]


def test_browsers_may_ask_whether_they_may(site: Site) -> None:
    """The gateway itself answers a preflight of an allowed origin; any other origin is refused."""
    before = site.request_count()
    preflight = ("Access-Control-Request-Method", "POST")
    for path in ("/documents/a", "/imports"):
        got = site.ask(path, ("Origin", ORIGIN), preflight, method="OPTIONS")
        assert got.status in {200, 204}
        assert got.values("access-control-allow-origin") == [ORIGIN]
        assert "POST" in got.values("access-control-allow-methods")[0]
        assert "Authorization" in got.values("access-control-allow-headers")[0]
    for origin in (
        "https://evil.example.com",
        f"{ORIGIN}.evil.example.com",
        "null",
        "https://app.example.co",
    ):
        got = site.ask("/documents/a", ("Origin", origin), preflight, method="OPTIONS")
        assert got.values("access-control-allow-origin") == []
    assert site.ask("/documents/a", ("Origin", ORIGIN), method="OPTIONS").status == 401
    assert site.request_count() == before


def test_browsers_may_read_the_answers(site: Site) -> None:
    """A response, and a refusal, allow the listed origin once, and no other; caches separate them."""
    for fields, status in (([bearer(site.token)], 200), ([], 401), ([bearer("x")], 401)):
        for origin, allowed in ((ORIGIN, [ORIGIN]), ("https://evil.example.com", [])):
            got = site.ask("/documents/a", *fields, ("Origin", origin))
            assert got.status == status
            assert got.values("access-control-allow-origin") == allowed
            assert not allowed or "Origin" in got.values("vary")


@pytest.mark.slow
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_clients_cannot_claim_an_identity(site: Site, spelling: str) -> None:
    """A client's own identity fields, in any spelling and number, never reach the application."""
    for name in ("Workspace", "Key", "Scopes", "Metadata"):
        forged = (SPELLINGS[spelling].format(name), "forged")
        for fields in (
            [forged],
            [forged, forged],
            [(SPELLINGS[spelling].format(name.lower()), "forged")],
        ):
            reached = site.allowed("/documents/a", *fields)
            assert "forged" not in identity(reached)
            assert "forged" not in repr(reached.headers)


@pytest.mark.slow
def test_identity_fields_cannot_be_stripped(site: Site) -> None:
    """A client that lists the fields in Connection does not remove them."""
    before = site.request_count()
    for connection in (
        ["keep-alive, X-Keystead-Workspace"],
        ["keep-alive, x-keystead-key"],
        ["keep-alive, X-Keystead-Scopes, Authorization"],
        ["keep-alive, X-Keystead-Metadata"],
        ["Upgrade", "X-Keystead-Workspace"],
    ):
        fields = [("Connection", value) for value in connection]
        got = site.ask("/documents/a", bearer(site.token), ("Upgrade", "websocket"), *fields)
        if got.status in {101, 200}:
            identity(site.application.requests[-1])
        else:
            assert got.status in {400, 401}
            assert site.request_count() == before
        before = site.request_count()


@pytest.mark.slow
def test_a_revoked_key_is_refused_on_an_open_connection(site: Site) -> None:
    """The next request of the same connection is refused."""
    token = site.keystead.token("documents:read")
    with open_connection(site.port) as connection:
        for _ in range(3):
            assert connection.ask("/documents/a", [bearer(token)]).status == 200
        assert site.keystead.call("DELETE", own(site, token), token=token).status_code == 204
        before = site.request_count()
        for _ in range(3):
            assert connection.ask("/documents/a", [bearer(token)]).problem() == (
                401,
                "invalid-token",
            )
    assert site.request_count() == before


@pytest.mark.slow
def test_websockets(site: Site) -> None:
    """A websocket's first request is checked like any other; a good one is upgraded."""
    upgrade = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    before = site.request_count()
    assert site.ask("/documents/live", *upgrade).status == 401
    assert site.ask("/documents/live", bearer(WELL_FORMED), *upgrade).status == 401
    assert site.request_count() == before
    with open_connection(site.port) as connection:
        got = connection.ask("/documents/live", [bearer(site.token), *upgrade])
        assert got.status == 101
        connection.raw().sendall(b"ping")
        assert connection.raw().recv(4) == b"ping"
    identity(site.application.requests[-1])


@pytest.mark.parametrize(
    "protocols",
    [("h2c",), ("H2C",), ("h2c, websocket",), ("websocket, h2c",), ("websocket", "h2c"), ("h2c", "websocket")],
    ids=", then ".join,
)  # fmt: skip
def test_only_websockets_are_changed_over(site: Site, protocols: tuple[str, ...]) -> None:
    """No other protocol is upgraded: later requests within HTTP/2 (h2c) would not be checked."""
    fields = [("Upgrade", protocol) for protocol in protocols]
    fields += [("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA")]
    for connection in ("Upgrade", "Upgrade, HTTP2-Settings"):
        before = site.request_count()
        site.ask("/documents/a", bearer(site.token), ("Connection", connection), *fields)
        for request in site.application.requests[before:]:
            assert {value for _, value in request.like("upgrade")} <= {"websocket"}


@pytest.mark.slow
@pytest.mark.parametrize("gateway", ALL, ids=lambda gateway: gateway.name)
def test_without_keystead_nothing_passes(gateway: Gateway, tmp_path: Path) -> None:
    """Without Keystead no request reaches the application, and the client gets 503 with Retry-After."""
    with (
        recorder(application) as behind,
        serving(f"sqlite:///{tmp_path / 'keystead.db'}") as keystead,
        running(gateway, tmp_path, keystead.port, behind.port) as port,
    ):
        token = keystead.token("documents:read")
        assert ask(port, "/documents/a", [bearer(token)]).status == 200
        assert len(behind.requests) == 1
        keystead.stop()
        for fields in ([bearer(token)], [], [bearer("x")]):
            for path in ("/documents/a", "/imports/a", "/account"):
                assert_unavailable(gateway, ask(port, path, fields))
        assert len(behind.requests) == 1
        keystead.start()
        assert ask(port, "/documents/a", [bearer(token)]).status == 200


def assert_unavailable(gateway: Gateway, got: Response) -> None:
    """Expect 503 as a problem; Traefik answers 500, which can't be configured."""
    if gateway is TRAEFIK:
        assert got.status == 500
    else:
        assert got.problem() == (503, "unavailable")


@pytest.mark.slow
@pytest.mark.parametrize("error", [RateLimited(7), Unavailable()], ids=["429", "503"])
def test_refusals_for_a_time(
    site: Site, error: KeysteadError, keystead: ServerProcess, tmp_path: Path
) -> None:
    """429 and 503 reach the client unchanged, with Retry-After; a stand-in answers as Keystead does."""

    def answer(request: Request) -> bytes:
        fields = [(name.lower().encode(), value.encode()) for name, value in request.headers]
        response = ForwardAuth._refuse(_Refusing(), {"headers": fields}, error)  # type: ignore[arg-type]
        head = b"".join(b"%s: %s\r\n" % field for field in response.headers)
        first = b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n" % (response.status, len(response.body))
        return first + head + b"\r\n" + response.body

    with recorder(answer) as stand_in, recorder(application) as behind:
        with running(site.gateway, tmp_path, stand_in.port, behind.port) as port:
            stand_in.requests.clear()
            got = ask(port, "/documents/a", [bearer(site.token)])
        status = 429 if isinstance(error, RateLimited) else 503
        assert got.problem() == (status, error.code)
        assert got.values("retry-after") == ["7" if status == 429 else "2"]
        assert behind.requests == []
        assert len(stand_in.requests) == 1


class _Refusing:
    """A minimal gate that refuses."""

    _problems = Problems("https://keys.example.com")


@pytest.mark.slow
def test_what_is_asked(site: Site, tmp_path: Path) -> None:
    """Each route asks for its scope, with the client's credential and agent, and nothing else of the request."""

    def answer(request: Request) -> bytes:
        return b"HTTP/1.1 403 X\r\ncontent-length: 0\r\n\r\n"

    with recorder(answer) as stand_in, recorder(application) as behind:
        with running(site.gateway, tmp_path, stand_in.port, behind.port) as port:
            stand_in.requests.clear()
            for path in ("/documents/a?b=c", "/imports/a", "/account"):
                fields = [bearer("x"), ("Cookie", "secret=1"), ("User-Agent", "curl/8"), *FORWARDED]
                ask(port, path, fields, method="POST", body=b"body")
        requests: list[Request] = stand_in.requests
    scopes = [request.path.partition("?")[0].split("/")[2] for request in requests]
    assert scopes == ["documents:read", "documents:write", "any"]
    for request in requests:
        assert request.like("authorization") == [(request.like("authorization")[0][0], "Bearer x")]
        assert [value for _, value in request.like("user-agent")] == ["curl/8"]
        assert request.like("cookie") == []
        hops = request.like("x-forwarded-for")[-1][1].split(",")
        assert [hop.strip() for hop in hops] == [HOST], "only what the gateway saw itself"
        assert [value for _, value in request.like("x-forwarded-proto")] == ["http"]
        assert request.body == b""
        assert [value for _, value in request.like("content-length")] in ([], ["0"])
        assert request.like("transfer-encoding") == []
        assert not any(request.like(name) for name in IDENTITY)
