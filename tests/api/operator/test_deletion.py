"""Deleting a workspace by the API: from the first 202 on, no call knows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from keystead.domain.principals import Actor, PrincipalKind
from tests.support.api_client import ApiClient, ApiInstallation, open_api, problem
from tests.support.described_calls import CALLS, sample_body

BY = Actor(PrincipalKind.OPERATOR, "tests", "tests")
ABSENT = "0000000000000000000000"
ABSENT_WORKSPACE = f"ws_{ABSENT}"


@pytest.fixture
def api(database_url: str) -> Iterator[ApiInstallation]:
    """An installation for each test, on each engine."""
    with open_api(database_url) as api:
        yield api


def operating(api: ApiInstallation) -> ApiClient:
    """Return a client with an operator's credential."""
    return api.client(api.services.credentials.create("backend", BY)[1].reveal())


def calls_within() -> Iterator[tuple[str, str, Any]]:
    """Yield method, path and body of every call about one workspace."""
    for path, method, operation in CALLS:
        if "{workspace}" in path:
            filled = re.sub(r"\{(?!workspace)\w+\}", f"key_{ABSENT}", path)
            yield method.upper(), filled, sample_body(operation)


def test_every_call_answers_like_for_an_id_that_never_was(api: ApiInstallation) -> None:
    """404 from the deletion on, before and after the purge, byte for byte; only the deletion itself is 202 again."""
    tenant, client = api.tenant(), operating(api)
    token = tenant.token().reveal()
    path = f"/operator/v1/workspaces/{tenant.id}"
    assert client.delete(path).status_code == 409
    client.post(f"{path}/suspend")
    assert client.delete(path).status_code == 202
    seen = 0
    for is_purged in (False, True):
        if is_purged:
            api.services.deletion.purge()
        for method, template, body in calls_within():
            gone, absent = (
                client.send(method, template.replace("{workspace}", id), body)
                for id in (tenant.id, ABSENT_WORKSPACE)
            )
            assert problem(absent)[0] == 404, (method, template)
            if (method, template.count("/")) == ("DELETE", 4):
                assert gone.status_code == 202
            else:
                assert (gone.status_code, gone.content) == (404, absent.content), template
            seen += 1
        assert tenant.id not in client.get("/operator/v1/workspaces").text
        looked_up = client.post("/operator/v1/keys/lookup", {"token": token})
        assert problem(looked_up) == (404, "not-found")
        assert problem(api.client(token).get("/v1/whoami")) == (401, "invalid-token")
    assert seen >= 40


def test_feed_and_use_forget_it(api: ApiInstallation) -> None:
    """Its events and its use leave with the deletion; the installation's own event of it stays."""
    tenant, other, client = api.tenant(), api.tenant(), operating(api)
    for each in (tenant, other):
        each.client().get("/v1/whoami")
    api.services.usage.flush()
    today = api.clock.now().date().isoformat()
    use = f"/operator/v1/usage?from={today}&to={today}"
    api.services.feed.place()
    for path in ("/operator/v1/events", use):
        assert tenant.id in client.get(path).text
    client.post(f"/operator/v1/workspaces/{tenant.id}/suspend")
    client.delete(f"/operator/v1/workspaces/{tenant.id}")
    for is_purged in (False, True):
        if is_purged:
            api.services.deletion.purge()
        api.services.feed.place()
        events = client.get("/operator/v1/events").json()["items"]
        assert {event["workspace"] for event in events} == {None, other.id}
        [deleted] = [event for event in events if tenant.id in str(event)]
        assert (deleted["type"], deleted["target"]["id"]) == ("workspace.deleted", tenant.id)
        assert client.get(f"/operator/v1/events?workspace={tenant.id}").json()["items"] == []
        assert tenant.id not in client.get(use).text
        assert other.id in client.get(use).text
