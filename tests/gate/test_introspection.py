"""A service asks whether a token is active (RFC 7662)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from keystead.domain.credentials import CredentialKind
from keystead.domain.instants import to_microseconds
from keystead.domain.renewals import Renewal
from keystead.domain.verification import DenialReason
from keystead.gate import introspection
from keystead.http.asgi import Header
from keystead.http.client import record_of
from tests.support.asgi import HOST, Response, scope_of
from tests.support.clocks import NOON
from tests.support.gate import FORM, OPERATOR, GateApplication, basic, bearer, gate_of
from tests.support.installations import SandboxInstallation, prepare, sandbox_on, text_of
from tests.support.postgres import PrivatePostgres

INACTIVE = {"active": False}
WELL_FORMED = "ks_02tcRIyrxLXTR81B3dqdOx_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf2aDLy9"


def challenges(answer: Response) -> list[str]:
    """Return the challenges of a response."""
    return [value.decode() for name, value in answer.headers if name == b"www-authenticate"]


def test_a_good_token(sandbox: SandboxInstallation, gate: GateApplication) -> None:
    """All members of RFC 7662 section 2.2, times in whole seconds, and the workspace; without caching."""
    tenant = sandbox.tenant()
    end = NOON + timedelta(days=3)
    key = sandbox.key(tenant, scopes=("plan:read", "documents:read"), expires_at=end)
    workspace = sandbox.services.workspaces.get(tenant.workspace_id)
    answer = gate.introspect(text_of(key), gate.service())
    assert (answer.status, answer.header("content-type")) == (200, "application/json")
    assert answer.header("cache-control") == "no-store"
    assert answer.json() == {
        "active": True,
        "scope": "documents:read plan:read",
        "client_id": key.key.id,
        "sub": tenant.workspace_id,
        "iat": to_microseconds(key.key.created_at) // 1_000_000,
        "exp": int(end.timestamp()),
        "token_type": "Bearer",
        "workspace": {"id": workspace.id, "name": workspace.name, "plan": workspace.plan_id},
        "networks": [],
        "metadata": {},
        "renewal": None,
    }
    assert {type(answer.json()[name]) for name in ("exp", "iat")} == {int}


def test_a_key_without_an_end(gate: GateApplication) -> None:
    """A key that never expires has no `exp`."""
    assert "exp" not in gate.introspect(gate.token(), gate.service()).json()


def test_a_key_with_networks(sandbox: SandboxInstallation, gate: GateApplication) -> None:
    """It is active only for an `ip` inside, also when it is recalled; the response has networks, labels, renewal."""
    tenant, service = sandbox.tenant(), gate.service()
    key = sandbox.key(
        tenant,
        networks=["192.0.2.0/24", "2001:db8::/32"],
        metadata={"customer": "42"},
        renewal=Renewal(NOON + timedelta(days=90)),
    )
    for _ in range(3):
        for ip in ("198.51.100.1", "2001:db9::1", "::192.0.2.7", None):
            assert gate.introspect(text_of(key), service, ip=ip).json() == INACTIVE
        for ip in ("192.0.2.7", "::ffff:192.0.2.7", "2001:DB8::1"):
            answer = gate.introspect(text_of(key), service, ip=ip).json()
            assert answer["active"] is True
            assert answer["networks"] == ["192.0.2.0/24", "2001:db8::/32"]
            assert answer["metadata"] == {"customer": "42"}
            assert answer["renewal"] == {"until": "2027-02-21T12:00:00Z"}


def test_an_address_that_was_sent_is_recorded(
    sandbox: SandboxInstallation, gate: GateApplication
) -> None:
    """Accepted and refused callers are those of `ip`, in its one spelling and without an agent."""
    tenant, service = sandbox.tenant(), gate.service()
    key = sandbox.key(tenant, networks=["192.0.2.0/24"])
    for ip in ("::ffff:192.0.2.7", "198.51.100.1", "192.0.2.7", "198.51.100.1", None):
        gate.introspect(text_of(key), service, ip=ip)
    sandbox.flush()
    callers = sandbox.services.usage.callers(tenant, key.key.id)
    assert {(c.caller.reason, c.caller.address, c.caller.agent, c.times) for c in callers} == {
        (None, "192.0.2.7", "", 2),
        (DenialReason.NETWORK, "198.51.100.1", "", 2),
    }
    last = sandbox.services.keys.get(tenant, key.key.id).last_use
    assert (last and last.address) == "192.0.2.7"


@pytest.mark.parametrize(
    "ip", ["", "x", "192.0.2.7:80", "192.0.2.0/24", "192.0.2.07", "[::1]", "fe80::1%eth0", "1" * 60_000]
)  # fmt: skip
@pytest.mark.parametrize("networks", [[], ["192.0.2.0/24"]])
def test_a_malformed_address(gate: GateApplication, ip: str, networks: list[str]) -> None:
    """400, whatever the key, and nothing is verified."""
    answer = gate.introspect(gate.token(networks=networks), gate.service(), ip=ip)
    assert (answer.status, answer.json()["error"]) == (400, "invalid_request")
    assert "`ip`" in answer.json()["detail"]


@pytest.mark.parametrize("ended", ["revoked", "expired", "suspended"])
def test_a_token_that_is_not_good(
    sandbox: SandboxInstallation, gate: GateApplication, ended: str
) -> None:
    """Ended, unknown and malformed tokens are inactive, and the response reveals nothing else."""
    service = gate.service()
    tenant = sandbox.tenant()
    key = sandbox.key(tenant, expires_at=NOON + timedelta(hours=1))
    assert gate.introspect(text_of(key), service).json()["active"] is True
    if ended == "revoked":
        sandbox.services.keys.revoke(tenant, key.key.id)
    elif ended == "expired":
        sandbox.clock.advance(hours=1)
    else:
        sandbox.services.workspaces.suspend(tenant.workspace_id)
    for token in (text_of(key), WELL_FORMED, "x", "é", "\0", "a" * 10_000):
        answer = gate.introspect(token, service)
        assert (answer.status, answer.json()) == (200, INACTIVE)


@pytest.mark.parametrize("kind", CredentialKind)
def test_a_services_own_token_is_inactive(gate: GateApplication, kind: CredentialKind) -> None:
    """The credentials of services and operators are never active tokens."""
    _, token = gate.credential(kind)
    assert gate.introspect(token, bearer(token)[0]).json() == INACTIVE


@pytest.mark.parametrize("kind", CredentialKind)
def test_who_may_ask(gate: GateApplication, kind: CredentialKind) -> None:
    """Services and operators: as a bearer, or by Basic with ID and token, each form-encoded or not (RFC 6749)."""
    id, token = gate.credential(kind)
    subject = gate.token()
    encoded = "".join(f"%{ord(character):02X}" for character in token)
    for field in (bearer(token)[0], basic(id, token), basic(quote(id), encoded)):
        assert gate.introspect(subject, field).json()["active"] is True


def test_who_may_not_ask(sandbox: SandboxInstallation, gate: GateApplication) -> None:
    """Without a valid service credential and its own ID: 401 with both challenges, and no effect."""
    (id, token), (other, _) = gate.credential(), gate.credential()
    gone, dead = gate.credential()
    sandbox.services.credentials.revoke(gone, OPERATOR)
    key = gate.token("*", "keys:write")
    subject = text_of(workspace_key := sandbox.key(tenant := sandbox.tenant()))
    wrong: list[list[Header]] = [
        [], bearer(key), bearer(dead), bearer(WELL_FORMED), [basic(gone, dead)], [basic(other, token)],
        [basic("", token)], [basic(id, key)], [basic(id, "")], [(b"authorization", b"Basic !!!")],
        [(b"authorization", b"Basic e30=")], [basic(id, "%ff" + token)], [(b"authorization", b"Digest a=b")],
    ]  # fmt: skip
    for fields in wrong:
        answer = gate.introspect(subject, *fields)
        assert answer.status == 401
        answered = challenges(answer)
        assert answered[0].startswith('Bearer realm="keystead"')
        assert answered[1] == 'Basic realm="keystead", charset="UTF-8"'
    sandbox.flush()
    assert sandbox.services.keys.get(tenant, workspace_key.key.id).last_use is None


@pytest.mark.parametrize(
    ("sent", "status", "error", "words"),
    [
        ({"headers": [FORM]}, 401, "invalid_client", "service credential"),
        ({"headers": [FORM, *bearer(WELL_FORMED)]}, 401, "invalid_client", "service credential"),
        ({"headers": [FORM, *bearer("a"), *bearer("b")]}, 400, "invalid_request", "two Auth"),
        ({"method": "GET"}, 405, "invalid_request", "POST"),
        ({"path": "/introspect/x"}, 404, "invalid_request", ""),
        ({"headers": [FORM, (b"x-y", b"a\nb")]}, 400, "invalid_request", "control"),
        ({"headers": [FORM, (b"x-y", b"a" * 33_000)]}, 431, "invalid_request", "32,768"),
    ],
)
def test_refusals_are_those_of_oauth(
    gate: GateApplication, sent: dict[str, Any], status: int, error: str, words: str
) -> None:
    """Each is a problem with the `error` of RFC 6749, and names the credential that services have."""
    path, method = sent.get("path", "/introspect"), sent.get("method", "POST")
    answer = gate.send(scope_of(method, path, [HOST, *sent.get("headers", [])]), b"token=x")
    problem = answer.json()
    assert (answer.status, problem["status"], problem["error"]) == (status, status, error)
    assert answer.header("content-type") == "application/problem+json"
    assert words in problem["detail"]
    assert "Send an API key" not in answer.body.decode()


def test_an_encoded_form_is_refused_as_such(gate: GateApplication) -> None:
    """A Content-Encoding is 415 on either path, with the accepted one."""
    answer = gate.introspect("x", gate.service(), (b"content-encoding", b"gzip"))
    assert (answer.status, answer.json()["error"]) == (415, "invalid_request")
    assert answer.header("accept-encoding") == "identity"


def test_a_credential_in_the_form_is_ignored(gate: GateApplication) -> None:
    """`client_id` and `client_secret` in the body mean nothing: a token is sent in one place."""
    id, token = gate.credential()
    form = [("token", gate.token()), ("client_id", id), ("client_secret", token)]
    assert gate.post("/introspect", form).status == 401


def test_a_service_does_nothing_else(gate: GateApplication) -> None:
    """A service credential isn't a key, is refused by gateways, and lacks an operator's permissions."""
    _, token = gate.credential()
    for path in ("/v1/whoami", "/operator/v1/workspaces"):
        assert gate.send(scope_of(path=path, headers=[HOST, *bearer(token)])).status == 401
    assert gate.ask("/any", token).status == 401


def test_the_form(gate: GateApplication) -> None:
    """`token` once, in a form; a hint and unknown fields are ignored. All other bodies are refused."""
    service, token = gate.service(), gate.token()
    good = [("token", token), ("token_type_hint", "refresh_token"), ("resource", "x")]
    assert gate.post("/introspect", good, service).json()["active"] is True
    for body, status in (
        (b"", 400),
        (b"token=", 400),
        (b"tokens=x", 400),
        (b"token=a&token=b", 400),
        (b"token=%ff", 400),
        (b"token=\xff", 400),
        (b"&".join(b"a%d=b" % n for n in range(21)), 400),
        (b"token=" + b"a" * 65_536, 413),
    ):
        answer = gate.post("/introspect", body, service)
        assert (answer.status, answer.json()["status"]) == (status, status)
    json = scope_of("POST", "/introspect", [HOST, service, (b"content-type", b"application/json")])
    assert gate.send(json, b'{"token": "x"}').status == 415
    charset = (b"content-type", b"application/x-www-form-urlencoded; charset=UTF-8")
    scope = scope_of("POST", "/introspect", [HOST, service, charset])
    assert gate.send(scope, f"token={token}".encode()).json()["active"] is True


def test_only_post(gate: GateApplication) -> None:
    """Other methods, including preflights, are refused before anything is read: there is no CORS."""
    origin = (b"origin", b"https://evil.example")
    for method in ("GET", "OPTIONS", "PUT"):
        answer = gate.send(scope_of(method, "/introspect", [HOST, origin, FORM]))
        assert (answer.status, answer.header("allow")) == (405, "POST")
        assert not [name for name, _ in answer.headers if name.startswith(b"access-control")]
    elsewhere = scope_of("POST", "/introspect/x", [HOST, FORM, gate.service()])
    assert gate.send(elsewhere, b"token=x").status == 404


def test_the_caller_is_not_noted(sandbox: SandboxInstallation, gate: GateApplication) -> None:
    """It counts as a use of the key, but its address and agent, which are the service's, are not stored."""
    tenant = sandbox.tenant()
    key = sandbox.key(tenant)
    gate.introspect(text_of(key), gate.service(), (b"user-agent", b"search/1"))
    sandbox.flush()
    use = sandbox.services.keys.get(tenant, key.key.id).last_use
    assert use is not None
    assert (use.address, use.agent) == (None, None)
    assert sandbox.services.usage.callers(tenant, key.key.id) == []


def test_one_use_for_one_question(sandbox: SandboxInstallation, gate: GateApplication) -> None:
    """Each accepted question about a token is one use of its key."""
    tenant = sandbox.tenant()
    key = sandbox.key(tenant)
    service = gate.service()
    for _ in range(3):
        assert gate.introspect(text_of(key), service).status == 200
    sandbox.flush()
    today = sandbox.clock.now().date()
    assert sandbox.requests(tenant, key.key.id) == {today: 3}


def test_calling_credentials_are_logged(
    gate: GateApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each calling credential leaves a line immediately, then at most once a minute; a refusal always does."""
    seconds = [1_000.0]
    monkeypatch.setattr(introspection, "monotonic", lambda: seconds[0])
    first, other = gate.service(), gate.service()

    def is_logged(service: Header, body: bytes = b"token=x") -> bool:
        scope = scope_of("POST", "/introspect", [HOST, FORM, service])
        answer = gate.send(scope, body)
        return answer.status != 200 or not record_of(scope).is_routine

    assert [is_logged(each) for each in (first, first, other, first, other)] == [
        *(True, False, True, False, False),
    ]
    assert is_logged(first, b"nonsense=1")
    seconds[0] += introspection.LOG_SECONDS
    assert [is_logged(each) for each in (first, first, other)] == [True, False, True]


@pytest.mark.parametrize("token", ["good", "x"])
def test_every_response_is_like_any_other(gate: GateApplication, token: str) -> None:
    """An answer has its request's ID and the headers of all answers, whether the token is active or not."""
    answer = gate.introspect(gate.token() if token == "good" else token, gate.service())
    assert answer.header("x-request-id") is not None
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("server") == "keystead"


def test_the_response_follows_the_workspace(
    sandbox: SandboxInstallation, gate: GateApplication
) -> None:
    """A new plan or name is in the next response, whichever server changed it and however often it was the old one."""
    tenant, service = sandbox.tenant(), gate.service()
    key = sandbox.key(tenant)
    servers = (sandbox.services.workspaces, sandbox.another().services.workspaces)
    for workspaces, plan, name in zip(servers, ("free", "scale"), ("Ann", "Bob"), strict=True):
        for _ in range(3):
            before = gate.introspect(text_of(key), service).json()["workspace"]
            assert plan != before["plan"]
        workspaces.set_plan(tenant.workspace_id, plan)
        workspaces.rename(tenant, name)
        after = gate.introspect(text_of(key), service).json()["workspace"]
        assert after == {"id": tenant.workspace_id, "name": name, "plan": plan}


def test_away_is_never_a_refusal(private_postgres: PrivatePostgres, runner: asyncio.Runner) -> None:
    """While PostgreSQL is unavailable, every response is 503; from its return on, all are complete again (R36)."""
    url = private_postgres.dsn(private_postgres.create_database())
    prepare(url)
    with sandbox_on(url) as sandbox:
        gate = gate_of(sandbox, runner)
        (_, live), (gone, dead) = gate.credential(), gate.credential()
        sandbox.services.credentials.revoke(gone, OPERATOR)
        _, operator = gate.credential(CredentialKind.OPERATOR)
        token = gate.token()
        private_postgres.kill()
        for credential in (live, dead) * 3:
            answer = gate.introspect(token, *bearer(credential))
            assert (answer.status, answer.json()["code"]) == (503, "unavailable")
            assert answer.header("retry-after") is not None
        listing = scope_of(path="/operator/v1/workspaces", headers=[HOST, *bearer(operator)])
        assert gate.send(dict(listing)).status == 503
        private_postgres.start()
        assert gate.introspect(token, *bearer(live)).json()["active"] is True
        assert gate.introspect(token, *bearer(dead)).status == 401
        assert gate.send({**listing, "state": {}}).status == 200
