"""Whose key a token is: for a genuine token always, for any other text the same 404."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import pytest

from keystead.domain.credentials import CredentialKind
from keystead.domain.digest import Pepper, Peppers
from keystead.domain.token import assemble
from tests.support.api_client import ApiClient, ApiInstallation, Tenant, pointers, problem
from tests.support.backends import BY, PATH, backend, shown, successful

LOOKUP: Final = "/operator/v1/keys/lookup"
SECRET: Final = bytes(range(32))


@pytest.fixture
def operator(api: ApiInstallation) -> ApiClient:
    """The product's backend, with an active credential."""
    return backend(api)


def test_a_token_has_its_key_and_workspace(operator: ApiClient, tenant: Tenant) -> None:
    """Both as other calls return them, whatever became of the key or the workspace."""
    token = tenant.token(lives=timedelta(seconds=90))
    expiring, revoked = token.reveal(), tenant.client()
    revoked.delete(f"/v1/keys/{revoked.key_id}")
    body = successful(operator.post(LOOKUP, {"token": expiring}))
    keys = f"{PATH}/{tenant.id}/keys"
    assert body["key"] == successful(operator.get(f"{keys}/{token.key_id}"))
    seen = successful(operator.get(f"{PATH}/{tenant.id}"))
    assert body["workspace"] == {name: seen[name] for name in body["workspace"]}
    successful(operator.post(f"{PATH}/{tenant.id}/suspend"))
    tenant.api.clock.advance(seconds=90)
    for sent, status in ((expiring, "expired"), (revoked.token, "revoked")):
        found = successful(operator.post(LOOKUP, {"token": sent}))
        assert found["key"]["status"] == status
        assert found["workspace"]["suspended_at"] is not None
        assert str(sent) not in repr(found)


def test_all_other_texts_are_alike(
    api: ApiInstallation, operator: ApiClient, tenant: Tenant
) -> None:
    """A wrong secret, a wrong checksum, tokens of services and operators, nonsense: byte for byte the same 404."""
    token = tenant.token()
    text = token.reveal()
    number = 0x01890A5DAC96774BBCCEB302099A8057
    others = [
        assemble("ks", number, SECRET).reveal(),
        text[:-1] + ("0" if text[-1] != "0" else "1"),
        f" {text}", "", "nonsense", "\n", "ks_" + "0" * 20_000,
        *(api.services.credentials.create("x", BY, kind)[1].reveal() for kind in CredentialKind),
    ]  # fmt: skip
    answers = [operator.post(LOOKUP, {"token": other}) for other in others]
    assert problem(answers[0]) == (404, "not-found")
    assert {repr(shown(answer)) for answer in answers} == {repr(shown(answers[0]))}
    assert operator.post(LOOKUP, {"token": text}).status_code == 200


def test_looking_up_is_neither_a_use_nor_a_refusal(operator: ApiClient, tenant: Tenant) -> None:
    """The key looks never used, and its owner sees no refused caller."""
    used, revoked = tenant.token(), tenant.client()
    revoked.delete(f"/v1/keys/{revoked.key_id}")
    tenant.api.services.usage.flush()
    before = tenant.event_types()
    for token in (used.reveal(), revoked.token):
        assert operator.post(LOOKUP, {"token": token}).status_code == 200
    tenant.api.services.usage.flush()
    key = successful(operator.get(f"{PATH}/{tenant.id}/keys/{used.key_id}"))
    assert key["last_used_at"] is None
    assert tenant.event_types() == before


def test_sixty_a_minute(api: ApiInstallation, operator: ApiClient, tenant: Tenant) -> None:
    """The sixty-first look-up of a minute is 429 with Retry-After, found or not; another credential has its own."""
    text = tenant.token().reveal()
    for sent in [text, "nonsense"] * 30:
        assert operator.post(LOOKUP, {"token": sent}).status_code in {200, 404}
    refused = operator.post(LOOKUP, {"token": text})
    assert problem(refused) == (429, "rate-limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert backend(api).post(LOOKUP, {"token": text}).status_code == 200
    api.clock.advance(seconds=60)
    assert operator.post(LOOKUP, {"token": text}).status_code == 200


def test_a_missing_pepper_is_no_answer(
    api: ApiInstallation, operator: ApiClient, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 for a token whose pepper this server lacks, of a revoked key too: it can't be called unknown."""
    client = tenant.client()
    client.delete(f"/v1/keys/{client.key_id}")
    owners: Any = api.services.key_owners
    monkeypatch.setattr(owners, "_peppers", Peppers(Pepper("other", bytes(range(1, 33)))))
    assert problem(operator.post(LOOKUP, {"token": client.token})) == (503, "unavailable")
    assert problem(operator.post(LOOKUP, {"token": "nonsense"})) == (404, "not-found")


def test_the_body_is_checked(sqlite_api: ApiInstallation) -> None:
    """422 with the pointers, and without the token."""
    operator, text = backend(sqlite_api), sqlite_api.tenant().token().reveal()
    assert pointers(operator.post(LOOKUP, {})) == ["/token"]
    answer = operator.post(LOOKUP, {"token": [text]})
    assert pointers(answer) == ["/token"]
    assert text not in answer.text
