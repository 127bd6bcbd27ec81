"""A gateway asks whether a request may pass: only the scope in the raw path decides."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from datetime import timedelta
from typing import Any

import pytest

from keystead.domain.ids import KeyId
from keystead.domain.instants import format_instant
from keystead.domain.keys import KeyPatch
from keystead.http.asgi import Header
from tests.support.asgi import HOST, Response
from tests.support.clocks import NOON
from tests.support.gate import IDENTITY, GateApplication, basic, bearer
from tests.support.installations import SandboxInstallation, text_of

READ = "/documents:read"
NGINX: Header = (b"x-keystead-gateway", b"nginx")
WELL_FORMED = "ks_02tcRIyrxLXTR81B3dqdOx_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf2aDLy9"


def named(response: Response) -> list[str]:
    """Return which of Keystead's fields a response has."""
    return [name.decode() for name, _ in response.headers if name.startswith(b"x-keystead")]


def refused(response: Response, status: int, code: str) -> Response:
    """Return the response after checking that it is that problem, is not stored, and names no key."""
    assert response.status == status
    problem = response.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert response.header("content-type") == "application/problem+json"
    assert response.header("cache-control") == "no-store"
    assert not set(named(response)) & set(IDENTITY)
    assert (response.header("www-authenticate") is not None) or status not in {401, 403}
    return response


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "PROPFIND", "BREW", "get"])
def test_a_good_key_may_pass(gate: GateApplication, method: str) -> None:
    """Any method: 200 with workspace, key, scopes and metadata, an empty body, and no caching."""
    tenant = gate.sandbox.tenant()
    labels = {"customer": "Zoë <42>", "team": "?>?>"}
    key = gate.sandbox.key(tenant, scopes=("documents:read", "plan:read"), metadata=labels)
    answer = gate.ask(READ, text_of(key), method=method)
    assert (answer.status, answer.body) == (200, b"")
    assert [answer.header(name) for name in IDENTITY] == [
        tenant.workspace_id,
        key.key.id,
        "documents:read plan:read",
        "eyJjdXN0b21lciI6Ilpvw6sgPDQyPiIsInRlYW0iOiI_Pj8-In0=",
    ]
    assert json.loads(urlsafe_b64decode(answer.header("x-keystead-metadata") or "")) == labels
    assert answer.header("cache-control") == "no-store"
    assert answer.header("server") == "keystead"


def test_metadata_is_always_sent(gate: GateApplication) -> None:
    """Without labels it is an empty object, so that a gateway overwrites its client's; a change is in the next one."""
    tenant = gate.sandbox.tenant()
    key = gate.sandbox.key(tenant)
    for patch, labels in (({}, {}), ({"a": "1"}, {"a": "1"}), ({"a": None}, {})):
        gate.sandbox.services.keys.update(tenant, key.key.id, KeyPatch(metadata=patch))
        field = gate.ask("/any", text_of(key)).header("x-keystead-metadata")
        assert json.loads(urlsafe_b64decode(field or "")) == labels


def test_any_asks_for_a_live_key(gate: GateApplication) -> None:
    """`any` accepts every active key, even without scopes; the field of scopes is there even if it is empty."""
    key = gate.sandbox.key(gate.sandbox.tenant(), scopes=("plan:read",))
    assert gate.ask("/any", text_of(key)).header("x-keystead-scopes") == "plan:read"
    refused(gate.ask(READ, text_of(key)), 403, "insufficient-scope")


@pytest.mark.parametrize(
    "rest", ["/", "/a/b", "//", "/../any", "/%2e%2e/x", "/;x", "/\\", "/%00", "/documents:write"]
)
def test_only_the_first_segment_decides(gate: GateApplication, rest: str) -> None:
    """The rest of the path is the client's, and neither that nor its query has a meaning."""
    token = gate.token("documents:read")
    query = b"access_token=x&%00"
    assert gate.ask(READ + rest, token, query_string=query).status == 200
    refused(
        gate.ask(f"/documents:write{rest}", token, query_string=query), 403, "insufficient-scope"
    )


@pytest.mark.parametrize(
    "segment",
    [
        "", "/", "//", "//documents:read", "/./documents:read", "/x/../documents:read", "/documents%3Aread",
        "/documents:read%2f", "/documents:read;v=1", "/Documents:read", "/documents:read%00", "/documents:read*",
        "/documents:read%20", "/*", "/%61ny", "/ANY", "/any;", "/any.", "/invoices:read", "%2Fany", "/any\\..",
    ],
)  # fmt: skip
def test_a_scope_must_be_named_exactly(gate: GateApplication, segment: str) -> None:
    """Encoded, doubled, dotted, parameterised, misspelt, of another case or unknown: 403, for a full-access key too."""
    refused(gate.ask(segment, gate.token("*", "keys:write")), 403, "insufficient-scope")


@pytest.mark.parametrize("ended", ["revoked", "expired", "suspended"])
def test_every_dead_token_is_refused_alike(
    sandbox: SandboxInstallation, gate: GateApplication, ended: str
) -> None:
    """A dead key, an unknown one and garbage get 401 with the same body; the challenge names no reason."""
    tenant = sandbox.tenant()
    key = sandbox.key(tenant, expires_at=NOON + timedelta(hours=1))
    text = text_of(key)
    assert gate.ask(READ, text).status == 200
    if ended == "revoked":
        sandbox.services.keys.revoke(tenant, key.key.id)
    elif ended == "expired":
        sandbox.clock.advance(hours=1)
    else:
        sandbox.services.workspaces.suspend(tenant.workspace_id)
    answers = [gate.ask(READ, token) for token in (text, WELL_FORMED, text[:-1], "a" * 5000, "~")]
    assert {answer.body for answer in answers} == {answers[0].body}
    for answer in answers:
        challenge = refused(answer, 401, "invalid-token").header("www-authenticate")
        assert challenge == 'Bearer realm="keystead", error="invalid_token"'


def test_without_credentials(gate: GateApplication) -> None:
    """No credentials, Basic, and a session's cookie: 401 with a challenge that names no error."""
    cookie = (b"cookie", b"__Host-keys=x")
    for fields in ([], [basic("a", "b")], [cookie]):
        answer = refused(gate.ask(READ, headers=fields), 401, "unauthenticated")
        assert answer.header("www-authenticate") == 'Bearer realm="keystead"'


@pytest.mark.parametrize("joined", [False, True])
def test_two_credentials_are_refused(gate: GateApplication, joined: bool) -> None:
    """Two Authorization fields, or two in one, with a good token first or last: 401, since gateways mishandle a 400."""
    good, bad = (value for _, value in (*bearer(gate.token()), *bearer(WELL_FORMED)))
    for first, other in ((good, bad), (bad, good), (good, good)):
        pair = [first + b", " + other] if joined else [first, other]
        answer = gate.ask(READ, headers=[(b"authorization", value) for value in pair])
        assert "invalid_request" in str(
            refused(answer, 401, "invalid-request").header("www-authenticate")
        )


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_no_method_that_opens_or_echoes(gate: GateApplication, method: str) -> None:
    """CONNECT and TRACE are refused everywhere."""
    refused(gate.ask(READ, gate.token(), method=method), 405, "method-not-allowed")


@pytest.mark.parametrize(
    ("scope", "status", "challenged"),
    [
        ({"raw_path": b"/forward-auth/nothing:here"}, 403, True),
        ({"raw_path": b"/forward-auth/documents:write"}, 403, True),
        ({"method": "TRACE"}, 405, False),
        ({"query_string": b"a" * 9000}, 431, False),
    ],
)
def test_nginx_gets_403(
    gate: GateApplication, scope: dict[str, Any], status: int, challenged: bool
) -> None:
    """`auth_request` knows only 401 and 403: every other refusal becomes 403, with its status in a field."""
    more = {"path": "/forward-auth/x", "raw_path": b"/forward-auth/documents:read", **scope}
    answer = gate.ask_scope([HOST, NGINX, *bearer(gate.token("documents:read"))], more)
    assert (answer.status, answer.header("x-keystead-denied-status")) == (403, str(status))
    assert answer.json()["status"] == 403
    assert named(answer) == ["x-keystead-denied-status"]
    assert (answer.header("www-authenticate") is not None) == challenged


def test_nginx_gets_401_like_other_gateways(gate: GateApplication) -> None:
    """A dead token, no token and two tokens are 401 to nginx too, without a further field; a good one is 200."""
    two = [*bearer(WELL_FORMED), *bearer(WELL_FORMED)]
    for fields in ([], bearer(WELL_FORMED), two):
        assert named(refused_or_not(gate.ask(READ, headers=[NGINX, *fields]))) == []
    assert gate.ask(READ, gate.token(), headers=[NGINX]).status == 200


def refused_or_not(answer: Response) -> Response:
    """Return the response after checking that it is 401."""
    assert (answer.status, answer.json()["status"]) == (401, 401)
    return answer


def test_no_credential_over_plain_http(gate: GateApplication) -> None:
    """From another machine without TLS only requests with a token are refused."""
    token = gate.token()
    response = refused(gate.ask(READ, token, client=("192.0.2.1", "5000")), 401, "invalid-request")
    assert "plain HTTP" in response.json()["detail"]
    assert gate.ask(READ, token, client=("192.0.2.1", "5000"), scheme="https").status == 200


def test_a_key_that_ends_soon_says_so(gate: GateApplication) -> None:
    """Within 14 days of its end, the response to a key carries its expiry."""
    for days, expected in ((13, True), (15, False)):
        end = NOON + timedelta(days=days)
        answer = gate.ask(READ, gate.token(expires_at=end))
        assert answer.header("keystead-key-expires") == (format_instant(end) if expected else None)


def test_use_is_noted_once(sandbox: SandboxInstallation, gate: GateApplication) -> None:
    """Each request is one use, or one refusal, of the client on the gateway's connection."""
    tenant = sandbox.tenant()
    key = sandbox.key(tenant, scopes=("documents:read",))
    agent = (b"user-agent", b"curl/8")
    for path in (READ, READ, "/documents:write"):
        gate.ask(path, text_of(key), headers=[agent, (b"x-forwarded-for", b"203.0.113.9")])
    sandbox.flush()
    callers = sandbox.services.usage.callers(tenant, KeyId(key.key.id))
    assert [(c.caller.reason, c.caller.address, c.caller.agent, c.times) for c in callers] in (
        [(None, "127.0.0.1", "curl/8", 2), ("insufficient_scope", "127.0.0.1", "curl/8", 1)],
        [("insufficient_scope", "127.0.0.1", "curl/8", 1), (None, "127.0.0.1", "curl/8", 2)],
    )


def test_narrowed_scopes_show_immediately(
    sandbox: SandboxInstallation, gate: GateApplication
) -> None:
    """The fields of a key are built once, and again after its scopes change."""
    tenant = sandbox.tenant()
    key = sandbox.key(tenant, scopes=("documents:read", "plan:read"))
    assert gate.ask("/any", text_of(key)).header("x-keystead-scopes") == "documents:read plan:read"
    sandbox.services.keys.update(tenant, key.key.id, KeyPatch(scopes=["plan:read"]))
    assert gate.ask("/any", text_of(key)).header("x-keystead-scopes") == "plan:read"
    refused(gate.ask(READ, text_of(key)), 403, "insufficient-scope")
