"""Credentials of the product's own services: they act as operators; keys don't, and they don't act as keys."""

from __future__ import annotations

import pytest

from keystead.bootstrap import Installation
from keystead.domain.credentials import CredentialKind
from keystead.domain.digest import Pepper, Peppers
from keystead.domain.errors import Invalid, InvalidToken, NotFound, Unavailable
from keystead.domain.events import Target
from keystead.domain.ids import CredentialId
from keystead.domain.principals import Actor, PrincipalKind
from keystead.domain.token import CHECKSUM_WIDTH, Token, checksum, parse
from keystead.domain.verification import DenialReason, Denied
from keystead.logger import Line
from keystead.services.credentials import Credentials
from keystead.services.events import InstallationLog
from keystead.storage.schema import tables as schema
from keystead.storage.tables.credentials import pepper_ids_of_live_credentials
from tests.support.administrator import read_behind
from tests.support.installations import PEPPERS, SandboxInstallation, calling, text_of

OPERATOR = Actor(PrincipalKind.OPERATOR, "cli", "root")
ELSEWHERE = Peppers(Pepper("p2", bytes(range(60, 92))))


def _made(sandbox: SandboxInstallation, name: str = "Backend") -> tuple[CredentialId, Token]:
    credential, token = sandbox.services.credentials.create(name, OPERATOR)
    return credential.id, token


def test_a_credential_is_made(sandbox: SandboxInstallation) -> None:
    """It has a name, a creator, a hint, and a token of its own kind that verifies."""
    credential, token = sandbox.services.credentials.create("Backend", OPERATOR)
    assert (credential.kind, credential.name) == (CredentialKind.OPERATOR, "Backend")
    assert (credential.created_at, credential.created_by) == (sandbox.clock.now(), OPERATOR)
    assert token.reveal().startswith("ks_op_")
    assert credential.hint == f"ks_op_…{token.reveal()[-4:]}"
    assert credential.id == f"op_{token.reveal().split('_')[2]}"
    acting = calling(sandbox.installation, token.reveal())
    assert acting == (credential.id, credential.kind, "Backend")
    assert acting.actor == Actor(PrincipalKind.OPERATOR, credential.id, "Backend")


@pytest.mark.parametrize("kind", CredentialKind)
@pytest.mark.parametrize("prefix", ["ks", "a" * 20, "acme_live"])
def test_any_prefix(sandbox: SandboxInstallation, prefix: str, kind: CredentialKind) -> None:
    """The longest prefix leaves room for the rest of the token."""
    credentials = Credentials(sandbox.database, sandbox.clock, PEPPERS, prefix=prefix)
    credential, token = credentials.create("Backend", OPERATOR, kind)
    assert token.reveal().startswith(f"{prefix}_{kind}_")
    acting = calling(sandbox.installation, token.reveal(), *CredentialKind)
    assert acting == (credential.id, kind, "Backend")


def test_a_service_is_no_operator(sandbox: SandboxInstallation) -> None:
    """A service's credential is accepted only by endpoints for services; an operator's prefix makes it invalid."""
    credential, token = sandbox.services.credentials.create(
        "Gateway", OPERATOR, CredentialKind.SERVICE
    )
    text = token.reveal()
    assert credential.id == f"svc_{text.split('_')[2]}"
    assert calling(sandbox.installation, text, *CredentialKind).id == credential.id
    for kinds in ((), (CredentialKind.OPERATOR,)):
        with pytest.raises(InvalidToken):
            calling(sandbox.installation, text, *kinds)
    with pytest.raises(InvalidToken):
        calling(sandbox.installation, _with_prefix(text, "ks_op"), *CredentialKind)
    assert sandbox.services.verifier.verify(text) == Denied(DenialReason.UNKNOWN)
    assert sandbox.services.credentials.revoke(credential.id, OPERATOR).revoked_at is not None
    with pytest.raises(InvalidToken):
        calling(sandbox.installation, text, *CredentialKind)


def test_no_key_is_an_operator_and_no_operator_a_key(sandbox: SandboxInstallation) -> None:
    """A key's token never passes as a credential, nor the reverse (R56), not even with the other's prefix."""
    key = text_of(sandbox.key(sandbox.tenant()))
    _, token = _made(sandbox)
    with pytest.raises(InvalidToken):
        calling(sandbox.installation, key)
    verdict = sandbox.services.verifier.verify(token.reveal())
    assert verdict == Denied(DenialReason.UNKNOWN)
    for disguised in (_with_prefix(key, "ks_op"), _with_prefix(token.reveal(), "ks")):
        assert parse(disguised) is not None
        with pytest.raises(InvalidToken):
            calling(sandbox.installation, disguised)
        assert isinstance(sandbox.services.verifier.verify(disguised), Denied)


def _with_prefix(text: str, prefix: str) -> str:
    body = prefix + "_" + "_".join(text.split("_")[-2:])[:-CHECKSUM_WIDTH]
    return body + checksum(body)


def test_near_misses(sandbox: SandboxInstallation) -> None:
    """Another secret, another id, a truncated one, an empty one: refused alike."""
    _, token = _made(sandbox)
    text = token.reveal()
    other = "A" if text[40] != "A" else "B"
    changed = text[:40] + other + text[41:-CHECKSUM_WIDTH]
    refusals = set()
    for wrong in (
        changed + checksum(changed),
        text[:-1],
        text.replace("_op_", "_svc_"),
        "",
        "ks_op_",
        "x" * 5000,
    ):
        with pytest.raises(InvalidToken) as refused:
            calling(sandbox.installation, wrong)
        refusals.add(str(refused.value))
    assert len(refusals) == 1


def test_revoked_immediately(sandbox: SandboxInstallation) -> None:
    """From the revocation on no server accepts it; revoking again changes nothing; an unknown one is not found."""
    id, token = _made(sandbox)
    another = sandbox.another()
    assert calling(another, token.reveal()).id == id
    revoked = sandbox.services.credentials.revoke(id, OPERATOR)
    for server in (sandbox.installation, another):
        with pytest.raises(InvalidToken):
            calling(server, token.reveal())
    sandbox.clock.advance(days=1)
    again = sandbox.services.credentials.revoke(id, Actor(PrincipalKind.OPERATOR, "cli", "other"))
    assert again == revoked
    assert (revoked.revoked_by, revoked.revoked_at) == ("root", revoked.created_at)
    with pytest.raises(NotFound):
        sandbox.services.credentials.revoke(CredentialId("op_0000000000000000000000"), OPERATOR)


def test_the_list(own_sandbox: SandboxInstallation) -> None:
    """All are listed, newest first, revoked ones too; none shows its token."""
    (one, first), (two, second) = _made(own_sandbox, "One"), _later(own_sandbox, "Two")
    own_sandbox.services.credentials.revoke(one, OPERATOR)
    listed = own_sandbox.services.credentials.list()
    assert [(c.id, c.revoked_at is not None) for c in listed] == [(two, False), (one, True)]
    for token in (first, second):
        assert token.reveal() not in repr(listed)


def _later(sandbox: SandboxInstallation, name: str) -> tuple[CredentialId, Token]:
    sandbox.clock.advance(seconds=1)
    return _made(sandbox, name)


def test_an_event_of_the_installation(own_sandbox: SandboxInstallation) -> None:
    """Creating and revoking add one event each, of the installation, without a secret; repeating adds no event."""
    services = own_sandbox.services
    credential, token = services.credentials.create("Backend", OPERATOR)
    own_sandbox.clock.advance(seconds=1)
    for _ in range(2):
        services.credentials.revoke(credential.id, OPERATOR)
    revoked, created = services.events.of_installation().items
    assert [created.type, revoked.type] == ["credential.created", "credential.revoked"]
    for event in (created, revoked):
        assert (event.target, event.actor) == (Target("credential", credential.id), OPERATOR)
        assert event.data == {"name": "Backend", "kind": "operator", "hint": credential.hint}
        assert token.reveal() not in repr(event)
    first = services.events.of_installation(limit=1)
    assert (first.items, first.next) == ([revoked], revoked.id)
    assert services.events.of_installation(before=first.next).items == [created]


def test_the_servers_log_each_event_once(
    own_sandbox: SandboxInstallation, caplog: pytest.LogCaptureFixture
) -> None:
    """An event of the installation is in the log of exactly one of its servers, by id and name."""
    credential, token = own_sandbox.services.credentials.create("Backend", OPERATOR)
    databases = own_sandbox.database, own_sandbox.another().database
    logs = [InstallationLog(database, own_sandbox.clock) for database in databases] * 2
    caplog.clear()
    assert sum(log.write() for log in logs) == 1
    own_sandbox.clock.advance(seconds=1)
    own_sandbox.services.credentials.revoke(credential.id, OPERATOR)
    assert sum(log.write() for log in logs) == 1
    messages = [record.msg for record in caplog.records if isinstance(record.msg, Line)]
    assert {message.event for message in messages} == {"installation event"}
    lines = [message.fields for message in messages]
    assert [line["type"] for line in lines] == ["credential.created", "credential.revoked"]
    assert {(line["id"], line["name"], line["by"]) for line in lines} == {
        (credential.id, "Backend", OPERATOR.name)
    }
    assert token.reveal() not in repr(lines)


@pytest.mark.parametrize("name", ["", " ", "x" * 101, "two\nlines", "nul\0"])
def test_a_name_is_for_people(sandbox: SandboxInstallation, name: str) -> None:
    """A name is 1-100 characters on one line."""
    with pytest.raises(Invalid):
        sandbox.services.credentials.create(name, OPERATOR)


def test_without_its_pepper(own_sandbox: SandboxInstallation) -> None:
    """A server without the pepper answers "unavailable" for an active credential, and "invalid" for a revoked one."""
    id, token = _made(own_sandbox)
    lacking: Installation = own_sandbox.another(ELSEWHERE)
    with pytest.raises(Unavailable):
        calling(lacking, token.reveal())
    with read_behind(own_sandbox.database) as tx:
        assert pepper_ids_of_live_credentials(tx) == {"p1"}
    own_sandbox.services.credentials.revoke(id, OPERATOR)
    with pytest.raises(InvalidToken):
        calling(lacking, token.reveal())
    with read_behind(own_sandbox.database) as tx:
        assert pepper_ids_of_live_credentials(tx) == set()


def test_what_is_stored_is_no_token(own_sandbox: SandboxInstallation) -> None:
    """The rows have a digest and no part of the secret."""
    _, token = _made(own_sandbox)
    with read_behind(own_sandbox.database) as tx:
        row = tx.execute(schema.credentials.select()).one()
    stored = repr(tuple(row))
    secret = token.reveal()[-49:-CHECKSUM_WIDTH]
    assert secret not in stored
    assert row.digest == PEPPERS.seal(token).value
