"""Access to the API: the bearer token, the scope, and what strangers learn."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx2
import pytest

from keystead.domain.ids import number_of
from keystead.domain.instants import format_instant
from keystead.domain.renewals import Renewal
from keystead.domain.scopes import BUILT_IN
from keystead.domain.token import Token, assemble
from tests.support.api_client import ApiClient, Headers, Tenant, problem, safe_text
from tests.support.described_calls import CALLS
from tests.support.log_lines import logged_lines

CHALLENGE = 'Bearer realm="keystead"'
OPERATIONS = [
    (method.upper(), path, operation["security"][0]["key"])
    for path, method, operation in CALLS
    if "key" in operation["security"][0]
]


def shown(answer: httpx2.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Return everything in a response except its request ID."""
    return (
        answer.status_code,
        answer.content,
        [(name, value) for name, value in answer.headers.items() if name != "x-request-id"],
    )


def dead_tokens(tenant: Tenant) -> dict[str, str]:
    """Return one token for each reason to refuse."""
    services, clock = tenant.api.services, tenant.api.clock
    expired = tenant.token(lives=timedelta(seconds=1))
    revoked, rotated, overlapped = tenant.token(), tenant.token(), tenant.token()
    services.keys.revoke(tenant.principal, revoked.key_id)
    services.rotations.rotate(tenant.principal, rotated.key_id)
    services.rotations.rotate(tenant.principal, overlapped.key_id, overlap=timedelta(seconds=1))
    clock.advance(seconds=2)
    other = tenant.api.tenant()
    suspended = other.token()
    services.workspaces.suspend(other.id)
    live = tenant.token().reveal()
    return {
        "malformed": "ks_nonsense",
        "of another form": "eyJhbGciOiJub25lIn0.e30.",
        "wrong checksum": live[:-1] + ("0" if live[-1] != "0" else "1"),
        "unknown": assemble("ks", 2**100, bytes(32)).reveal(),
        "wrong secret": forged(tenant.token()),
        "expired": expired.reveal(),
        "revoked": revoked.reveal(),
        "rotated": rotated.reveal(),
        "after its overlap": overlapped.reveal(),
        "suspended": suspended.reveal(),
        "not token68": "ks*nonsense",
    }


def forged(token: Token) -> str:
    """Return a token with the ID of an active key, a right checksum and another secret."""
    return assemble("ks", number_of(token.key_id), bytes(range(32))).reveal()


def test_every_dead_token_is_answered_alike(tenant: Tenant) -> None:
    """Malformed, unknown, forged, expired, revoked, rotated, suspended: the same 401, byte for byte, everywhere."""
    tokens = dead_tokens(tenant)
    for method, path in (("GET", "/v1/whoami"), ("POST", "/v1/keys"), ("DELETE", "/v1/keys/x")):
        answers = {
            kind: tenant.api.client(token).send(method, path, {"description": "x"})
            for kind, token in tokens.items()
        }
        first = answers["malformed"]
        assert problem(first) == (401, "invalid-token")
        assert first.headers["www-authenticate"] == f'{CHALLENGE}, error="invalid_token"'
        assert {kind for kind, answer in answers.items() if shown(answer) != shown(first)} == set()


def test_the_log_has_the_reason(quick: Tenant) -> None:
    """The log has what no response shows: the reason of a denial, and the key if the secret was right."""
    tokens = dead_tokens(quick)
    with logged_lines() as lines:
        for token in tokens.values():
            quick.api.client(token).get("/v1/whoami")
        quick.client("plan:read").get("/v1/keys")
        quick.client().get("/v1/keys")
    reasons = {
        "malformed": "malformed", "of another form": "malformed", "wrong checksum": "malformed",
        "unknown": "unknown", "wrong secret": "unknown", "expired": "expired",
        "revoked": "revoked", "rotated": "revoked", "after its overlap": "expired",
        "suspended": "suspended", "not token68": None,
    }  # fmt: skip
    denials = [line.get("denied") for line in lines]
    assert denials == [*(reasons[kind] for kind in tokens), "insufficient_scope", None]
    assert [("key_id" in line) for line in lines] == [
        *(reasons[kind] in {"expired", "revoked", "suspended"} for kind in tokens),
        True,
        True,
    ]
    assert not [token for token in tokens.values() if len(token) > 30 and token in repr(lines)]


def test_a_suspended_workspace_works_again_when_it_is_resumed(tenant: Tenant) -> None:
    """Suspension refuses immediately, and no longer than it lasts."""
    client = tenant.client()
    assert client.get("/v1/whoami").status_code == 200
    tenant.api.services.workspaces.suspend(tenant.id)
    assert problem(client.get("/v1/whoami")) == (401, "invalid-token")
    tenant.api.services.workspaces.resume(tenant.id)
    assert client.get("/v1/whoami").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("authorization", "Basic dXNlcjpwYXNz")],
        [("authorization", "Digest username=x")],
        [("authorization", "")],
    ],
    ids=["nothing", "Basic", "Digest", "empty"],
)
def test_without_credentials_only_the_scheme_is_named(quick: Tenant, headers: Headers) -> None:
    """No credentials, or those of another scheme: 401 with a challenge that names no error (RFC 6750 section 3.1)."""
    answer = quick.api.client().get("/v1/whoami", headers)
    assert problem(answer) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == CHALLENGE


def test_a_token_outside_authorization_is_ignored(quick: Tenant) -> None:
    """In the URL, a form, the body, a cookie, Basic or a header of another name: 401, and nothing is done."""
    token = quick.token().reveal()
    nobody = quick.api.client()
    form = [("content-type", "application/x-www-form-urlencoded")]
    basic = httpx2.BasicAuth("x", token)._build_auth_header("x", token)
    elsewhere = [
        nobody.get(f"/v1/whoami?access_token={token}"),
        nobody.get(f"/v1/whoami?token={token}&api_key={token}&key={token}"),
        nobody.post("/v1/keys", f"access_token={token}&description=x".encode(), form),
        nobody.post("/v1/keys", {"description": "x", "access_token": token}),
        nobody.get("/v1/whoami", [("cookie", f"access_token={token}; token={token}")]),
        nobody.get("/v1/whoami", [("authorization", basic)]),
        nobody.get("/v1/whoami", [("x-api-key", token)]),
        nobody.get("/v1/whoami", [("proxy-authorization", f"Bearer {token}")]),
    ]
    assert [problem(answer) for answer in elsewhere] == [(401, "unauthenticated")] * 8
    assert quick.event_types() == ["key.created", "workspace.created"]


def test_a_token_without_its_scheme_is_ignored(quick: Tenant) -> None:
    """`Authorization: <token>` names no scheme that we know."""
    answer = quick.api.client().get("/v1/whoami", [("authorization", quick.token().reveal())])
    assert problem(answer) == (401, "unauthenticated")


def test_two_credentials_are_one_too_many(quick: Tenant) -> None:
    """Two Authorization fields, or a second token in the URL: 400 and nothing done, even if one is active."""
    client = quick.client()
    for other in ("Bearer ks_nonsense", f"Bearer {client.token}", "Basic dXNlcjpwYXNz"):
        answer = client.post("/v1/keys", {"description": "x"}, [("authorization", other)])
        assert problem(answer) == (400, "invalid-request")
    answer = client.post("/v1/keys?access_token=x", {"description": "x"})
    assert problem(answer) == (400, "invalid-request")
    assert quick.event_types() == ["key.created", "workspace.created"]


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "BeArEr", "Bearer ", "Bearer    "])
def test_the_scheme_has_no_case_and_any_number_of_spaces(quick: Tenant, scheme: str) -> None:
    """RFC 9110 section 11.1 and 11.4."""
    token = quick.token().reveal()
    answer = quick.api.client().get("/v1/whoami", [("authorization", f"{scheme} {token}")])
    assert answer.status_code == 200


def sample_path(path: str) -> str:
    """Return a path of that template; it names resources that don't exist."""
    return path.replace("{name}", "none").replace("{id}", "none")


@pytest.mark.parametrize(("method", "path", "needed"), OPERATIONS)
def test_each_call_needs_the_scope_that_its_description_names(
    quick: Tenant, method: str, path: str, needed: list[str]
) -> None:
    """With every scope except the needed one: 403 that names it, before any other check. With it: the call proceeds."""
    if not needed:
        answer = quick.client("plan:read", renewal=Renewal()).send(method, sample_path(path))
        expected = {"DELETE": 403, "POST": 201}.get(method, 200)
        assert answer.status_code == expected
        return
    others = [scope for scope in BUILT_IN if scope not in {"*", *needed}]
    refused = quick.client(*others).send(method, sample_path(path), b"not json")
    assert problem(refused) == (403, "insufficient-scope")
    assert refused.json()["scope"] == needed[0]
    assert (
        refused.headers["www-authenticate"]
        == f'{CHALLENGE}, error="insufficient_scope", scope="{needed[0]}"'
    )
    for missing in needed:
        scopes = [scope for scope in BUILT_IN if scope not in {"*", missing}]
        refused = quick.client(*scopes).send(method, sample_path(path), b"not json")
        assert (problem(refused), refused.json()["scope"]) == ((403, "insufficient-scope"), missing)
    passed = quick.client(*needed).send(method, sample_path(path), b"not json")
    assert passed.status_code in {200, 204, 400, 404}, safe_text(passed)


@pytest.mark.parametrize(("method", "path", "needed"), OPERATIONS)
def test_everything_scope_is_everything_but_keys_write(
    quick: Tenant, method: str, path: str, needed: list[str]
) -> None:
    """`*` permits each call except those that need `keys:write`."""
    answer = quick.client("*").send(method, sample_path(path), b"not json")
    lacks = needed == ["keys:write"] or (not needed and method == "DELETE")
    assert (answer.status_code == 403) is lacks


def test_no_call_was_left_out() -> None:
    """These tests cover every call of the contract."""
    assert len(OPERATIONS) == 33
    assert {method for method, _, _ in OPERATIONS} == {"GET", "POST", "PUT", "PATCH", "DELETE"}


def test_a_key_may_always_end_itself(tenant: Tenant) -> None:
    """Revoking oneself needs no scope and works immediately; it reveals nothing about other keys."""
    other = tenant.token()
    client = tenant.client("plan:read")
    for id in (other.key_id, "key_none"):
        assert problem(client.delete(f"/v1/keys/{id}")) == (403, "insufficient-scope")
    assert client.delete(f"/v1/keys/{client.key_id}").status_code == 204
    assert problem(client.get("/v1/plan")) == (401, "invalid-token")
    assert problem(client.delete(f"/v1/keys/{client.key_id}")) == (401, "invalid-token")


def test_a_refused_call_does_not_count_as_use(quick: Tenant) -> None:
    """Only a successful call moves last use: neither a refused scope nor a dead token does."""
    client = quick.client("plan:read")
    watcher = quick.client()
    usage, keys = quick.api.services.usage, f"/v1/keys/{client.key_id}"
    client.get("/v1/keys")
    usage.flush()
    assert watcher.get(keys).json()["last_used_at"] is None
    client.get("/v1/plan", [("user-agent", "sync/1.0")])
    usage.flush()
    used = watcher.get(keys).json()
    assert used["last_used_at"] == format_instant(quick.api.clock.now())
    assert (used["last_used_ip"], used["last_used_agent"]) == ("127.0.0.1", "sync/1.0")


SAMPLES: list[tuple[str, str, Any]] = [
    ("GET", "/v1/whoami", None),
    ("GET", "/v1/keys", None),
    ("POST", "/v1/keys", {"description": "x"}),
    ("GET", "/v1/plan", None),
    ("POST", "/v1/collections", {"name": "c"}),
    ("PUT", "/v1/collections/c/documents/d", {"text": "x"}),
    ("DELETE", "/v1/collections/c/documents/d", None),
    ("GET", "/v1/events", None),
    ("GET", "/v1/keys/none", None),
    ("POST", "/v1/keys", {}),
]


@pytest.mark.parametrize(
    ("lives", "told"),
    [(None, False), (timedelta(days=14, seconds=1), False), (timedelta(days=14), True)],
    ids=["never", "later", "soon"],
)
def test_a_key_that_expires_soon_gets_a_warning(
    quick: Tenant, lives: timedelta | None, told: bool
) -> None:
    """Each 2xx to a key that ends within 14 days has its expiry; no refusal does; and no response is ever cached."""
    client = quick.client(lives=lives)
    end = client.get("/v1/whoami").json()["key"]["expires_at"]
    for method, path, body in SAMPLES:
        answer = client.send(method, path, body)
        expected = end if told and answer.is_success else None
        assert answer.headers.get("keystead-key-expires") == expected, (method, path)
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", sorted({sample_path(path) for _, path, _ in OPERATIONS}))
def test_other_methods_are_refused_with_those_that_work(quick: Tenant, path: str) -> None:
    """405 with a complete Allow: for OPTIONS, overrides by a header, TRACE and unknown methods too."""
    client = quick.client()
    allowed = {method for method, other, _ in OPERATIONS if sample_path(other) == path}
    if path.endswith("/batch"):
        allowed |= {"GET", "PUT", "DELETE"}  # a document can have that ID
    if "GET" in allowed:
        allowed.add("HEAD")
    methods = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    for method in sorted(methods - allowed):
        answer = client.send(method, path, None, [("x-http-method-override", min(allowed))])
        assert answer.status_code == 405, method
        assert set(answer.headers["allow"].split(", ")) == allowed
        assert not any(name.startswith("access-control") for name in answer.headers)
    for method in ("TRACE", "CONNECT", "BREW"):
        assert problem(client.send(method, path)) == (405, "method-not-allowed")


@pytest.mark.parametrize(
    "path", sorted({path for method, path, _ in OPERATIONS if method == "GET"})
)
def test_head_is_answered_as_get(quick: Tenant, path: str) -> None:
    """HEAD has the status and fields of GET, and its refusals (RFC 9110 section 9.3.2)."""
    for client in (quick.client(), quick.api.client(), quick.client("keys:write")):
        response, head = (client.send(method, sample_path(path)) for method in ("GET", "HEAD"))
        assert shown(head)[::2] == shown(response)[::2]
        assert response.status_code in {200, 401, 403, 404}
    wrong = quick.client().send("HEAD", f"{sample_path(path)}?nonsense=1")
    assert wrong.status_code in {404, 422}


def test_a_slash_at_the_end_is_another_path(quick: Tenant) -> None:
    """No redirect, which would repeat the credentials: 404."""
    client = quick.client()
    for path in ("/v1/keys/", "/v1/whoami/", "/v1", "/v1/", "/v1/hooks", "/v2/keys"):
        assert problem(client.get(path)) == (404, "not-found")


def test_no_caller_names_the_workspace(quick: Tenant) -> None:
    """The workspace depends only on the credential: a header, a query or a body that names another changes nothing."""
    other = quick.api.tenant()
    client: ApiClient = quick.client()
    headers = [("x-workspace-id", other.id), ("x-keystead-workspace", other.id)]
    assert client.get("/v1/whoami", headers).json()["workspace"]["id"] == quick.id
    assert problem(client.get(f"/v1/keys?workspace_id={other.id}")) == (422, "invalid")
    created = client.post("/v1/keys", {"description": "x", "workspace_id": other.id})
    assert problem(created) == (422, "invalid")
