"""`keystead credentials`: created once, listed without their tokens, revoked immediately."""

from __future__ import annotations

import pytest

from keystead.bootstrap import Installation
from keystead.cli.outcome import Exit
from keystead.domain.credentials import CredentialKind
from keystead.domain.errors import InvalidToken
from tests.cli.conftest import Keystead, one_engine
from tests.support.installations import calling


def test_a_credential_is_created_and_works(keystead: Keystead, installation: Installation) -> None:
    """Only its token is on standard output, and it is an operator's; it is never shown again."""
    created = keystead("credentials", "create", "billing backend")
    assert created.code == Exit.DONE
    token = created.out.removesuffix("\n")
    assert token.startswith("ks_op_")
    credential = calling(installation, token)
    assert credential.name == "billing backend"
    for seen in (keystead("credentials", "list"), keystead("credentials", "list", "--json")):
        assert "billing backend" in seen.out
        assert token not in seen.out + seen.err
    assert token not in created.err
    assert credential.id in created.err


def test_a_credential_is_revoked_immediately(
    keystead: Keystead, installation: Installation
) -> None:
    """The token is dead with the response; repeating it gives the same response, and the list shows the time."""
    credential = keystead("credentials", "create", "old", "--json").json
    assert set(credential) == {
        "id", "kind", "name", "hint", "created_at", "created_by", "revoked_at", "revoked_by", "token",
    }  # fmt: skip
    ended = keystead("credentials", "revoke", credential["id"], "--yes", "--json")
    assert ended.code == Exit.DONE
    with pytest.raises(InvalidToken):
        calling(installation, credential["token"])
    assert keystead("credentials", "revoke", credential["id"], "--json").json == ended.json
    assert ended.json["revoked_at"] is not None
    (listed,) = keystead("credentials", "list", "--json").json["items"]
    assert listed == ended.json


@one_engine
def test_the_installations_events(keystead: Keystead) -> None:
    """`events --installation` shows the creation and revocation of credentials; it has no server form."""
    credential = keystead("credentials", "create", "old", "--json").json
    keystead("credentials", "revoke", credential["id"], "--yes")
    for words in (("events",), ("events", "list")):
        events = keystead(*words, "--installation", "--json").json["items"]
        mine = [event for event in events if event["target"]["id"] == credential["id"]]
        assert {event["type"] for event in mine} == {"credential.created", "credential.revoked"}
        assert credential["token"] not in str(events)
    assert "credential.created" in keystead("events", "--installation").out
    wrong = keystead("events", "--installation", "--type", "key.created")
    assert wrong.code == Exit.USAGE


def test_a_service_credential(keystead: Keystead, installation: Installation) -> None:
    """`--kind service` creates one that the list shows as a service, without an operator's access."""
    token = keystead("credentials", "create", "gateway", "--kind", "service").out.strip()
    assert token.startswith("ks_svc_")
    service = calling(installation, token, CredentialKind.SERVICE)
    with pytest.raises(InvalidToken):
        calling(installation, token)
    assert "service" in keystead("credentials", "list").out
    assert keystead("credentials", "create", "x", "--kind", "root").code == Exit.USAGE
    ended = keystead("credentials", "revoke", service.id, "--yes", "--json").json
    assert (ended["kind"], ended["revoked_at"] is None) == ("service", False)


@one_engine
def test_what_cannot_be_is_refused(keystead: Keystead, installation: Installation) -> None:
    """An empty name, an unknown ID, and a script without --yes: nothing changes."""
    assert keystead("credentials", "create", " ").code == Exit.REFUSED
    for id in ("op_0000000000000000000000", "key_x", ""):
        refused = keystead("credentials", "revoke", id, "--yes")
        assert (refused.code, refused.out) == (Exit.REFUSED, "")
    credential = keystead("credentials", "create", "kept", "--json").json
    assert keystead("credentials", "revoke", credential["id"]).code == Exit.USAGE
    assert calling(installation, credential["token"]).name == "kept"
