"""A sample of each type of event, with the data that a real one has: what a receiver of webhooks must expect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from keystead.domain.events import Event, EventType, Origin, Target
from keystead.domain.ids import EventId, WorkspaceId
from keystead.domain.policies import Policy
from keystead.domain.principals import Actor, PrincipalKind

_ID: Final = "02tcRIyrxLXTR81B3dqdOx"
_MEMBER: Final = Actor(PrincipalKind.MEMBER, f"usr_{_ID}", "Ada Admin")
_OPERATOR: Final = Actor(PrincipalKind.OPERATOR, f"opr_{_ID}", "console")
_SYSTEM: Final = Actor(PrincipalKind.SYSTEM, "system", "System")
_WHEN: Final = "2027-03-01T12:00:00Z"
_LATER: Final = "2027-06-01T12:00:00Z"
_SUCCESSOR: Final = "key_02tdPqWmYb4cVn7ZkLs3Ea"

_KEY: Final = {"description": "data-warehouse sync", "hint": "ks_…laf3"}
_TIMED_KEY: Final = {**_KEY, "expires_at": _LATER}
_METADATA: Final = {"metadata": {"customer": "42"}}
_WEBHOOK: Final = {"name": "alerts in chat"}
_INVITATION: Final = {"email": "vic@example.com", "role": "viewer"}
_PERSON: Final = {"name": "Vic Viewer"}
_REFUSAL: Final = {"address": "192.0.2.7", "agent": "curl/8.14.1", "last_at": _WHEN, "times": 12}
_POLICY: Final = Policy(max_lifetime_days=90, expiry_required=True).members()


@dataclass(frozen=True, slots=True)
class _Sample:
    target: Target
    data: Mapping[str, object] = field(default_factory=dict)
    actor: Actor = _MEMBER


def sample_event(type: EventType) -> Event:
    """Return the sample of that type."""
    sample = _SAMPLES[type]
    is_request = sample.actor is not _SYSTEM
    return Event(
        id=EventId(f"evt_{_ID}"),
        workspace_id=WorkspaceId(f"ws_{_ID}"),
        sequence=1,
        type=type,
        occurred_at=datetime(2027, 3, 1, 12, tzinfo=UTC),
        actor=sample.actor,
        target=sample.target,
        origin=Origin("203.0.113.9", f"req_{_ID}") if is_request else Origin(),
        data=sample.data,
    )


def _key(data: Mapping[str, object], actor: Actor = _MEMBER) -> _Sample:
    return _Sample(Target("key", f"key_{_ID}"), data, actor)


def _collection(**data: object) -> _Sample:
    return _Sample(Target("collection", "handbook"), data)


def _webhook(**data: object) -> _Sample:
    return _Sample(Target("webhook", f"wh_{_ID}"), {**_WEBHOOK, **data})


def _member(data: Mapping[str, object]) -> _Sample:
    return _Sample(Target("member", f"usr_{_ID}"), data)


def _workspace(data: Mapping[str, object], actor: Actor = _OPERATOR) -> _Sample:
    return _Sample(Target("workspace", f"ws_{_ID}"), data, actor)


_SAMPLES: Final[Mapping[EventType, _Sample]] = {
    EventType.KEY_CREATED: _key({**_KEY, **_METADATA}),
    EventType.KEY_UPDATED: _key({**_KEY, "changed": ["expires_at"], **_METADATA}),
    EventType.KEY_ROTATED: _key({**_KEY, "rotated_to": _SUCCESSOR, "overlap_seconds": 3600}),
    EventType.KEY_REVOKED: _key(_KEY),
    EventType.KEY_EXPIRED: _key(_TIMED_KEY, _SYSTEM),
    EventType.KEY_EXPIRING: _key({**_TIMED_KEY, "days": 7}, _SYSTEM),
    EventType.KEY_UNUSED: _key(
        {**_TIMED_KEY, "last_used_at": _WHEN, "days": 30, "ends_at": None}, _SYSTEM
    ),
    EventType.KEY_REFUSED: _key(
        {**_TIMED_KEY, "reason": "revoked", "callers": [_REFUSAL]}, _SYSTEM
    ),
    EventType.KEY_REUSED: _key(
        {**_TIMED_KEY, "rotated_to": _SUCCESSOR, "address": "192.0.2.7"}, _SYSTEM
    ),
    EventType.LIMIT_REACHED: _Sample(
        Target("limit", "api_keys"), {"limit": 20, "used": 20, "plan": "team"}
    ),
    EventType.COLLECTION_CREATED: _collection(),
    EventType.COLLECTION_UPDATED: _collection(changed=["title"]),
    EventType.COLLECTION_DELETED: _collection(documents=120),
    EventType.DOCUMENTS_PUSHED: _collection(created=8, updated=3),
    EventType.DOCUMENTS_DELETED: _collection(deleted=2),
    EventType.WEBHOOK_CREATED: _webhook(),
    EventType.WEBHOOK_UPDATED: _webhook(changed=["url"]),
    EventType.WEBHOOK_DELETED: _webhook(),
    EventType.WEBHOOK_SECRET_ROTATED: _webhook(),
    EventType.WEBHOOK_ENABLED: _webhook(),
    EventType.WEBHOOK_DISABLED: _webhook(reason="failing"),
    EventType.WEBHOOK_RESENT: _webhook(deliveries=12),
    EventType.WEBHOOK_TEST: _Sample(Target("webhook", f"wh_{_ID}")),
    EventType.MEMBER_ADDED: _member({**_PERSON, "role": "viewer"}),
    EventType.MEMBER_INVITED: _Sample(Target("invitation", f"inv_{_ID}"), _INVITATION),
    EventType.MEMBER_INVITATION_REVOKED: _Sample(Target("invitation", f"inv_{_ID}"), _INVITATION),
    EventType.MEMBER_ROLE_CHANGED: _member({**_PERSON, "from": "viewer", "to": "developer"}),
    EventType.MEMBER_REMOVED: _member({**_PERSON, "role": "viewer"}),
    EventType.MEMBER_SIGNED_IN: _member({"by": "password"}),
    EventType.MEMBER_SIGNED_OUT: _member({}),
    EventType.MEMBER_PASSWORD_CHANGED: _member({}),
    EventType.MEMBER_EMAIL_CHANGED: _member({"from": "ada@example.com", "to": "ada@example.org"}),
    EventType.WORKSPACE_CREATED: _workspace({"name": "Acme"}),
    EventType.WORKSPACE_UPDATED: _workspace({"from": "Acme", "to": "Acme Inc"}, _MEMBER),
    EventType.WORKSPACE_SUSPENDED: _workspace({}),
    EventType.WORKSPACE_RESUMED: _workspace({}),
    EventType.WORKSPACE_PLAN_CHANGED: _workspace({"plan": "team", "overrides": {}}),
    EventType.WORKSPACE_EXPORTED: _workspace({}, _MEMBER),
    EventType.WORKSPACE_POLICY_CHANGED: _workspace({"layer": "owner", "policy": _POLICY}, _MEMBER),
}
