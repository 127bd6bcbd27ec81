"""Anyone with a token may revoke it (RFC 7009), and learns nothing from the response."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keystead.domain.credentials import CredentialKind
from keystead.domain.keys import KeyStatus
from keystead.domain.principals import PrincipalKind
from keystead.domain.throttle import REVOCATION
from keystead.domain.token import CHECKSUM_WIDTH, checksum, parse
from keystead.domain.verification import Denied
from tests.support.asgi import HOST, Response, scope_of
from tests.support.clocks import NOON
from tests.support.gate import FORM, GateApplication, bearer
from tests.support.installations import SandboxInstallation, calling, text_of

WELL_FORMED = "ks_02tcRIyrxLXTR81B3dqdOx_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf2aDLy9"


def accepted(answer: Response) -> list[tuple[bytes, bytes]]:
    """Return the fields of a response except its ID, after checking that it is an empty 200."""
    assert (answer.status, answer.body) == (200, b"")
    return sorted(field for field in answer.headers if field[0] != b"x-request-id")


def address(number: int) -> dict[str, Any]:
    """Return a scope's client with an address of the test's own: clients are counted by address."""
    return {"client": (f"198.51.100.{number}", "5"), "scheme": "https"}


def test_a_token_is_dead_when_the_answer_arrives(
    sandbox: SandboxInstallation, gate: GateApplication
) -> None:
    """The next request finds it dead, on another server too; the event says that the key revoked itself."""
    tenant = sandbox.tenant()
    key = sandbox.key(tenant, scopes=("plan:read",))
    another = sandbox.another()
    assert sandbox.verdict(key) == "verified"
    accepted(gate.revoke(text_of(key), **address(1)))
    assert sandbox.verdict(key) == "revoked"
    assert isinstance(another.services.verifier.verify(text_of(key)), Denied)
    assert gate.ask("/any", text_of(key)).status == 401
    event = sandbox.events(tenant)[-1]
    assert (event.type, event.target.id) == ("key.revoked", key.key.id)
    assert (event.actor.kind, event.actor.id) == (PrincipalKind.KEY, key.key.id)
    assert event.origin.address == "198.51.100.1"
    assert event.origin.request_id is not None


def test_every_answer_is_the_same(sandbox: SandboxInstallation, gate: GateApplication) -> None:
    """All tokens get the same bytes, so the response reveals nothing about a token."""
    tenant = sandbox.tenant()
    live, expired = sandbox.key(tenant), sandbox.key(tenant, expires_at=NOON + timedelta(seconds=1))
    sandbox.clock.advance(seconds=1)
    _, service = gate.credential()
    tokens = [text_of(live), text_of(live), text_of(expired), WELL_FORMED, "x", "é", service]
    answers = [accepted(gate.revoke(token, **address(2))) for token in tokens]
    assert all(answer == answers[0] for answer in answers)
    assert sandbox.happened(tenant).count("key.revoked") == 2


def test_again_is_the_same(sandbox: SandboxInstallation, gate: GateApplication) -> None:
    """A second time changes nothing: one event, and the first time stays."""
    tenant = sandbox.tenant()
    key = sandbox.key(tenant)
    accepted(gate.revoke(text_of(key), **address(3)))
    sandbox.clock.advance(hours=1)
    accepted(gate.revoke(text_of(key), **address(3)))
    assert sandbox.services.keys.get(tenant, key.key.id).revoked_at == NOON
    assert sandbox.happened(tenant).count("key.revoked") == 1


@pytest.mark.parametrize("kind", CredentialKind)
def test_a_services_credential_stays(
    sandbox: SandboxInstallation, gate: GateApplication, kind: CredentialKind
) -> None:
    """Only an operator can revoke a service's credential; this endpoint can't."""
    id, token = gate.credential(kind)
    accepted(gate.revoke(token, **address(4)))
    assert calling(sandbox.installation, token, *CredentialKind).id == id


def test_a_rotated_key_in_its_overlap(sandbox: SandboxInstallation, gate: GateApplication) -> None:
    """The old one ends early, and its successor keeps working."""
    tenant = sandbox.tenant()
    old = sandbox.key(tenant)
    new = sandbox.services.rotations.rotate(tenant, old.key.id, overlap=timedelta(days=1))
    accepted(gate.revoke(text_of(old), **address(5)))
    assert (sandbox.verdict(old), sandbox.verdict(new)) == ("revoked", "verified")


def test_a_suspended_workspace(sandbox: SandboxInstallation, gate: GateApplication) -> None:
    """A token that is revoked while its workspace is suspended stays revoked when the workspace resumes."""
    tenant = sandbox.tenant()
    key = sandbox.key(tenant)
    sandbox.services.workspaces.suspend(tenant.workspace_id)
    accepted(gate.revoke(text_of(key), **address(6)))
    sandbox.services.workspaces.resume(tenant.workspace_id)
    assert sandbox.verdict(key) == "revoked"


def test_another_secret_revokes_nothing(
    sandbox: SandboxInstallation, gate: GateApplication
) -> None:
    """The ID of a key is public: only its whole token revokes it."""
    key = sandbox.key(sandbox.tenant())
    other = text_of(sandbox.key(sandbox.tenant()))
    forged = "_".join([*text_of(key).split("_")[:2], other.split("_")[2][:-CHECKSUM_WIDTH]])
    forged += checksum(forged)
    assert parse(forged) is not None
    accepted(gate.revoke(forged, **address(7)))
    assert sandbox.verdict(key) == "verified"


def test_many_tokens_from_one_address(sandbox: SandboxInstallation, gate: GateApplication) -> None:
    """Over the limit 429 says when to retry, and the tokens are not read; other clients are served."""
    key = sandbox.key(sandbox.tenant())
    for number in range(REVOCATION.free):
        assert gate.revoke(WELL_FORMED if number % 2 else "x", **address(8)).status == 200
    refused = gate.revoke(text_of(key), **address(8))
    assert (refused.status, refused.json()["code"]) == (429, "rate-limited")
    assert refused.header("retry-after") == "1"
    assert sandbox.verdict(key) == "verified"
    accepted(gate.revoke(WELL_FORMED, **address(9)))
    sandbox.clock.advance(seconds=1)
    accepted(gate.revoke(text_of(key), **address(8)))
    assert sandbox.verdict(key) == "revoked"
    assert sandbox.services.keys.now() > NOON


def test_without_a_token(gate: GateApplication) -> None:
    """400 for a form without `token`, 415 for another media type, 405 for other methods; a bearer isn't enough."""
    token = gate.token()
    for body in (b"", b"token=", b"x=y"):
        assert gate.post("/revoke", body, **address(10)).status == 400
    sent = scope_of("POST", "/revoke", [HOST, *bearer(token)], **address(10))
    assert gate.send(sent).status == 400
    json = scope_of("POST", "/revoke", [HOST, (b"content-type", b"text/plain")], **address(10))
    assert gate.send(json, b"token=x").status == 415
    assert gate.send(scope_of("GET", "/revoke", **address(10))).header("allow") == "POST"
    assert gate.ask("/any", token).status == 200


def test_refusals_are_those_of_oauth(gate: GateApplication) -> None:
    """Each is a problem with the `error` of RFC 6749, including those of the head."""
    for headers, method, status in (
        ([HOST, FORM], "POST", 400),
        ([HOST], "GET", 405),
        ([HOST, FORM, (b"x-y", b"a\0b")], "POST", 400),
        ([HOST, (b"content-type", b"text/plain")], "POST", 415),
        ([HOST, FORM, (b"content-encoding", b"gzip")], "POST", 415),
    ):
        answer = gate.send(scope_of(method, "/revoke", headers, **address(12)), b"x=y")
        assert (answer.status, answer.json()["error"]) == (status, "invalid_request")
        assert answer.header("content-type") == "application/problem+json"
        is_encoded = (b"content-encoding", b"gzip") in headers
        assert answer.header("accept-encoding") == ("identity" if is_encoded else None)
    *_, limited = (gate.revoke("x", **address(13)) for _ in range(REVOCATION.free + 1))
    assert (limited.status, limited.json()["error"]) == (429, "temporarily_unavailable")


def test_an_expired_key_is_revoked_permanently(
    sandbox: SandboxInstallation, gate: GateApplication
) -> None:
    """If the clock is set back, it stays revoked."""
    tenant = sandbox.tenant()
    key = sandbox.key(tenant, expires_at=NOON + timedelta(seconds=1))
    sandbox.clock.advance(seconds=2)
    accepted(gate.revoke(text_of(key), **address(11)))
    assert sandbox.services.keys.get(tenant, key.key.id).status(NOON) is KeyStatus.REVOKED
