"""The samples of events: one of each type, with what real events have."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from pydantic import TypeAdapter

from keystead.domain.disuse import Disuse, unused_event
from keystead.domain.documents import CollectionDraft, CollectionPatch, DocumentDraft, Push
from keystead.domain.errors import LimitReached
from keystead.domain.event_samples import sample_event
from keystead.domain.events import Event, EventType, Origin
from keystead.domain.ids import WorkspaceId
from keystead.domain.key_lifecycle import expiry_event, refusal_event, reuse_event
from keystead.domain.keys import KeyDraft, KeyPatch
from keystead.domain.policies import Policy
from keystead.domain.principals import Principal, system
from keystead.domain.usage import Caller, KeyCaller
from keystead.domain.verification import DenialReason
from keystead.domain.webhooks import WebhookDraft, WebhookPatch, WebhookStatus
from keystead.domain.workspaces import Role
from keystead.wire.webhooks import WebhookPayload, payload
from tests.support.clocks import NOON
from tests.support.installations import SandboxInstallation
from tests.support.people import acting, member_of

ORIGIN = Origin("203.0.113.9", "req_test")


def test_the_system_acts_as_itself() -> None:
    """What no person did is by the system in the samples too, whatever the product is named."""
    actors = {sample_event(type).actor for type in EventType}
    assert [a for a in actors if a.kind == "system"] == [system(WorkspaceId("ws_x")).actor]


def test_each_type_has_a_sample_of_the_wires_shape() -> None:
    """The sample is a payload as a webhook receives it, and says nothing that the shape doesn't have."""
    shape = TypeAdapter(WebhookPayload)
    for type in EventType:
        sample = payload(sample_event(type))
        assert shape.validate_json(sample).to_json() == sample
        body = json.loads(sample)
        assert (body["type"], body["data"]["type"]) == (type, type)


def happen(sandbox: SandboxInstallation, tenant: Principal) -> None:
    """Do one act of almost every kind, as a member or as an operator."""
    services, owner = sandbox.services, acting(member_of(sandbox, tenant, Role.OWNER), NOON)
    key = services.keys.create(owner, KeyDraft("sync", None), ORIGIN).key
    services.keys.update(owner, key.id, KeyPatch("renamed"), ORIGIN)
    services.rotations.rotate(owner, key.id, overlap=timedelta(hours=1), origin=ORIGIN)
    services.keys.revoke(owner, key.id, ORIGIN)
    documents = services.documents
    documents.create_collection(owner, CollectionDraft("handbook"), ORIGIN)
    documents.update_collection(owner, "handbook", CollectionPatch("Handbook"), ORIGIN)
    documents.push(owner, "handbook", Push([DocumentDraft("a", "b")]), ORIGIN)
    documents.push(owner, "handbook", Push(delete=["a"]), ORIGIN)
    documents.delete_collection(owner, "handbook", origin=ORIGIN)
    webhooks, draft = services.webhooks, WebhookDraft("chat", "https://example.com/", ["*"])
    webhook = webhooks.create(owner, draft, ORIGIN).endpoint
    webhooks.update(owner, webhook.id, WebhookPatch(url="https://example.com/2"), ORIGIN)
    webhooks.rotate_secret(owner, webhook.id, ORIGIN)
    webhooks.test(owner, webhook.id, ORIGIN)
    for status in (WebhookStatus.DISABLED, WebhookStatus.ACTIVE):
        webhooks.update(owner, webhook.id, WebhookPatch(status=status), ORIGIN)
    webhooks.delete(owner, webhook.id, ORIGIN)
    _, invitation = services.invitations.invite(owner, "vic@example.com", Role.VIEWER, ORIGIN)
    services.invitations.revoke(owner, invitation.id, ORIGIN)
    viewer = member_of(sandbox, tenant, Role.VIEWER)
    services.members.change_role(owner, viewer.user.id, Role.DEVELOPER, ORIGIN)
    services.members.remove(owner, viewer.user.id, ORIGIN)
    services.workspaces.rename(owner, "Renamed", ORIGIN)
    services.policies.replace_owners(owner, Policy(max_lifetime_days=90), ORIGIN)
    services.exports.begin(owner, ORIGIN)
    services.workspaces.suspend(tenant.workspace_id)
    services.workspaces.resume(tenant.workspace_id)
    sandbox.limit(tenant, 0)
    with pytest.raises(LimitReached):
        services.keys.create(owner, KeyDraft("one too many", NOON + timedelta(days=9)), ORIGIN)


def shape(event: Event) -> tuple[str, list[str], dict[str, type]]:
    """Return the kind of target, the names of the data, and the types of what isn't absent."""
    kinds = {name: type(value) for name, value in event.data.items() if value is not None}
    return event.target.type, sorted(event.data), kinds


def test_samples_are_like_real_events(sandbox: SandboxInstallation) -> None:
    """What happens has the target, the data and the kind of actor that the sample of its type has."""
    tenant = sandbox.tenant()
    happen(sandbox, tenant)
    seen = set()
    for event in sandbox.events(tenant):
        sample = sample_event(event.type)
        real_type, real_names, real_kinds = shape(event)
        sample_type, sample_names, sample_kinds = shape(sample)
        assert (real_type, real_names) == (sample_type, sample_names), event.type
        for name in real_kinds.keys() & sample_kinds.keys():
            assert real_kinds[name] is sample_kinds[name], (event.type, name)
        assert event.actor.kind is sample.actor.kind, event.type
        seen.add(event.type)
    assert len(seen) >= 25


def test_samples_are_like_events_of_time(sandbox: SandboxInstallation) -> None:
    """The events that time brings about a key have the data of their samples."""
    tenant = sandbox.tenant()
    key = sandbox.key(tenant, expires_at=NOON + timedelta(days=20)).key
    later = NOON + timedelta(days=18)
    caller = KeyCaller(Caller(DenialReason.EXPIRED, "192.0.2.7", "curl"), NOON, 3)
    noted = Disuse(NOON, 0)
    for event in (
        expiry_event(key, later),
        expiry_event(key, NOON + timedelta(days=20)),
        refusal_event(key, [caller], NOON + timedelta(days=21)),
        reuse_event(key, "192.0.2.7", NOON),
        unused_event(key, noted, later),
    ):
        assert event is not None
        assert sorted(event.data) == sorted(sample_event(event.type).data), event.type
