"""The export of a workspace: JSON lines of everything in it, without a secret, and an end that shows it is whole."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from keystead.domain.principals import Actor, PrincipalKind, operator
from keystead.domain.webhooks import WebhookDraft
from keystead.http.asgi import Message
from keystead.services import exports
from keystead.storage.schema import tables as schema
from tests.support.api_client import ApiClient, ApiInstallation, Tenant, open_api, problem
from tests.support.asgi import HOST, scope_of

BY = Actor(PrincipalKind.OPERATOR, "tests", "tests")


@pytest.fixture
def api(database_url: str) -> Iterator[ApiInstallation]:
    """An installation for each test, on each engine."""
    with open_api(database_url) as api:
        yield api


def operating(api: ApiInstallation) -> ApiClient:
    """Return a client with an operator's credential."""
    return api.client(api.services.credentials.create("backend", BY)[1].reveal())


def export(client: ApiClient, workspace_id: str) -> list[dict[str, Any]]:
    """Return the lines of an export."""
    answer = client.get(f"/operator/v1/workspaces/{workspace_id}/export")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/jsonl"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text.splitlines()]


def furnished(api: ApiInstallation) -> tuple[Tenant, set[str]]:
    """Return a workspace with something of each kind, and the secrets that it has."""
    tenant = api.tenant()
    services, key = api.services, tenant.client().create_key(description="sync")
    principal = operator("tests", tenant.principal.workspace_id)
    webhook = services.webhooks.create(
        principal, WebhookDraft("CRM", "https://example.com/", ["*"], {"x-own": "header-secret"})
    )
    tenant.client().collection("handbook")
    for number in range(exports.DOCUMENTS_PAGE + 3):
        body: dict[str, Any] = {"text": f"page {number}", "title": "T"}
        tenant.client().put(f"/v1/collections/handbook/documents/{number}", body)
    services.usage.flush()
    return tenant, {key["token"], webhook.secret, "header-secret"}


def test_an_export_has_everything_and_ends(api: ApiInstallation) -> None:
    """Every resource is a line in the API's own shape, and the last line says how many there are."""
    tenant, _ = furnished(api)
    client = operating(api)
    lines = export(client, tenant.id)
    assert lines[-1] == {"type": "end", "lines": len(lines) - 1}
    counts = Counter(line["type"] for line in lines)
    assert counts["document"] == exports.DOCUMENTS_PAGE + 3
    by_type = {line["type"]: line.get("data") for line in lines}
    assert by_type.keys() >= {
        "workspace",
        "policy",
        "key",
        "usage",
        "collection",
        "webhook",
        "event",
    }
    assert lines[0]["data"] == client.get(f"/operator/v1/workspaces/{tenant.id}").json()
    keys = [line["data"] for line in lines if line["type"] == "key"]
    assert keys == tenant.client("keys:read").get("/v1/keys").json()["items"][-len(keys) :]
    used = {line["data"]["key"]: line["data"] for line in lines if line["type"] == "usage"}
    for id, data in used.items():
        report = client.get(f"/operator/v1/workspaces/{tenant.id}/keys/{id}/usage").json()["items"]
        assert report == [{name: data[name] for name in ("day", "requests", "refused")}]
    document = by_type["document"]
    listed = tenant.client().get("/v1/collections/handbook/documents/0").json()
    assert document == {**listed, "collection": "handbook"}
    events = [line["data"] for line in lines if line["type"] == "event"]
    assert events[0]["type"] == "workspace.exported"
    assert events[0]["actor"]["name"] == "backend"
    assert (
        len({line["data"]["id"] for line in lines if line["type"] == "document"})
        == counts["document"]
    )


def test_an_export_has_no_secret(api: ApiInstallation) -> None:
    """Tokens, digests, passwords, links and the secrets of webhooks are in no line."""
    tenant, secrets = furnished(api)
    text = json.dumps(export(operating(api), tenant.id))
    for word in (*secrets, "digest", "password_hash", "sealed", "pepper"):
        assert word not in text


def test_an_export_of_another_installation_is_404(api: ApiInstallation) -> None:
    """An id that never existed, and a deleted workspace, answer 404 before any line."""
    tenant = api.tenant()
    client = operating(api)
    absent = client.get("/operator/v1/workspaces/ws_0000000000000000000000/export")
    api.services.workspaces.suspend(tenant.principal.workspace_id)
    assert export(client, tenant.id)[-1]["type"] == "end"
    api.services.deletion.delete(tenant.principal.workspace_id)
    gone = client.get(f"/operator/v1/workspaces/{tenant.id}/export")
    assert problem(absent) == problem(gone) == (404, "not-found")
    assert absent.content == gone.content


def test_a_head_of_an_export_reads_nothing(api: ApiInstallation) -> None:
    """HEAD answers like GET, and the workspace's log has no export."""
    tenant = api.tenant()
    answer = operating(api).send("HEAD", f"/operator/v1/workspaces/{tenant.id}/export")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/jsonl")
    assert "workspace.exported" not in tenant.event_types()


def test_an_export_of_a_workspace_that_goes_has_no_end(api: ApiInstallation) -> None:
    """A deletion in the middle of an export cuts it: no page of it is read after the deletion's answer."""
    tenant, _ = furnished(api)
    id = tenant.principal.workspace_id
    pages = api.services.exports.pages(id)
    assert next(pages)
    api.services.workspaces.suspend(id)
    api.services.deletion.delete(id)
    with pytest.raises(Exception, match="no such workspace"):
        list(pages)


def test_a_revocation_cuts_an_export(api: ApiInstallation) -> None:
    """A slow reader whose credential is revoked gets no part that is read after the revocation."""
    tenant, _ = furnished(api)
    credential, token = api.services.credentials.create("backend", BY)
    bearer = (b"authorization", f"Bearer {token.reveal()}".encode())
    scope = scope_of(path=f"/operator/v1/workspaces/{tenant.id}/export", headers=[HOST, bearer])
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) == 2:
            revoke = api.services.credentials.revoke
            await asyncio.to_thread(revoke, credential.id, BY)

    async def read() -> None:
        with suppress(Exception):
            await api.app(scope, receive, send)

    api.runner.run(read())
    assert [message.get("more_body") for message in sent] == [None, True]


EXPORTED = {
    "workspaces": "workspace",
    "members": "member",
    "users": "member",
    "invitations": "invitation",
    "api_keys": "key",
    "key_use": "key",
    "key_use_days": "usage",
    "collections": "collection",
    "documents": "document",
    "webhook_endpoints": "webhook",
    "events": "event",
}
"""The tables of a workspace whose rows are in an export, with the type of their lines."""
LEFT_OUT = {
    "sign_in_links": "secrets",
    "idempotency_keys": "digests of requests, for a day",
    "device_logins": "digests of codes, for minutes",
    "key_counts": "counted from the keys",
    "key_use_hours": "the use again, by hour, for a week",
    "key_callers": "who called lately, for the pages",
    "key_lifecycle_marks": "which events were written",
    "key_rates": "an operator's setting, in the operator's own records",
    "webhook_queues": "what is to be sent",
    "deliveries": "how events were sent",
    "delivery_attempts": "how events were sent",
    "notification_digests": "what is to be sent",
    "digest_emails": "what was sent",
    "notification_preferences": "what members want to be sent",
}
"""Those whose rows are not, with the reason."""


def test_each_table_is_exported_or_left_out_for_a_reason() -> None:
    """A new table of a workspace has to be in one of the two lists."""
    tables = {t.name for t in schema.metadata.sorted_tables if "workspace_id" in t.c}
    assert tables | {"workspaces", "users"} == EXPORTED.keys() | LEFT_OUT.keys()
    assert not EXPORTED.keys() & LEFT_OUT.keys()
