"""Notification digests: what a workspace's members get by email, in one message a day unless it is urgent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from keystead.domain.errors import Invalid
from keystead.domain.events import Event, EventType
from keystead.domain.instants import parse_instant
from keystead.domain.key_hygiene import UNUSED_AFTER
from keystead.domain.keys import EXPIRES_SOON, ApiKey, KeyStatus
from keystead.domain.mail import Email
from keystead.domain.workspaces import Member, Role

GATHERING_DELAY: Final = timedelta(minutes=15)
"""How long after the first event of a day a digest waits for more."""
INTERVAL: Final = timedelta(days=1)
MAX_EVENT_AGE: Final = timedelta(days=7)
"""Older events are left out, for example after email was disabled for a long time."""
MAX_ITEMS: Final = 20
"""Items per topic; the rest are counted."""


class Topic(StrEnum):
    """The topics of notifications."""

    EXPIRING = "expiring"
    UNUSED = "unused"
    REFUSED = "refused"
    REUSED = "reused"
    LIMIT = "limit"
    WEBHOOK = "webhook"


TOPIC_OF: Final[Mapping[EventType, Topic]] = {
    EventType.KEY_EXPIRING: Topic.EXPIRING,
    EventType.KEY_UNUSED: Topic.UNUSED,
    EventType.KEY_REFUSED: Topic.REFUSED,
    EventType.KEY_REUSED: Topic.REUSED,
    EventType.LIMIT_REACHED: Topic.LIMIT,
    EventType.WEBHOOK_DISABLED: Topic.WEBHOOK,
}
TOPIC_LABELS: Final[Mapping[Topic, str]] = {
    Topic.EXPIRING: "Keys that expire soon",
    Topic.UNUSED: "Unused keys",
    Topic.REFUSED: "Ended keys that clients still send",
    Topic.REUSED: "Replaced keys that clients still send",
    Topic.LIMIT: "Limits that were reached",
    Topic.WEBHOOK: "Webhooks that were disabled",
}
"""The topics for people, as headings of a digest and in the settings."""

IMMEDIATE: Final = frozenset({EventType.KEY_REUSED})
"""Reported without delay, whenever the last digest was sent: the token may be stolen."""

ALL_TOPICS: Final = frozenset(Topic)
_BY_DEFAULT: Final[Mapping[Role, frozenset[Topic]]] = {
    Role.OWNER: ALL_TOPICS,
    Role.ADMIN: ALL_TOPICS,
}


@dataclass(frozen=True, slots=True)
class DigestItem:
    """One item of a digest: the topic, a sentence without a full stop, and the page that shows it."""

    topic: Topic
    text: str
    path: str


def default_topics(role: Role) -> frozenset[Topic]:
    """Return the topics of a role's members until they choose."""
    return _BY_DEFAULT.get(role, frozenset())


def check_topics(names: Iterable[str]) -> frozenset[Topic]:
    """Return the topics of those names. Invalid for an unknown name."""
    try:
        return frozenset(Topic(name) for name in names)
    except ValueError:
        raise Invalid.field("/topics", "has an unknown topic") from None


def is_reportable(event: Event, now: datetime) -> bool:
    """Return whether a digest at `now` reports `event`."""
    return event.type in TOPIC_OF and event.occurred_at > now - MAX_EVENT_AGE


def digest_item(event: Event, key: ApiKey | None, now: datetime) -> DigestItem | None:
    """Return the digest's item for an event at `now`; None if it no longer applies. `key` is the key it is about.

    For example, the key was extended or used after the event.
    """
    topic, area = TOPIC_OF[event.type], f"/w/{event.workspace_id}"
    match topic:
        case Topic.LIMIT:
            return DigestItem(topic, _limit_text(event), f"{area}/plan")
        case Topic.WEBHOOK:
            text = f"The webhook {_quoted(event.data.get('name'))} was disabled"
            return DigestItem(topic, text, f"{area}/webhooks/{event.target.id}")
        case _:
            words = None if key is None else _key_text(event, topic, key, now)
            return (
                None
                if words is None
                else DigestItem(topic, words, f"{area}/keys/{event.target.id}")
            )


def _key_text(event: Event, topic: Topic, key: ApiKey, now: datetime) -> str | None:
    name = f"{_quoted(key.description)} ({key.hint})"
    is_active = key.status(now) is KeyStatus.ACTIVE
    if topic is Topic.REUSED:
        return f"The key {name} was replaced by its successor, but clients still send it"
    if topic is Topic.REFUSED:
        return None if is_active else f"The key {name} has ended, but clients still send it"
    if not is_active:
        return None
    if topic is Topic.EXPIRING:
        is_near = key.expires_at is not None and key.expires_at <= now + EXPIRES_SOON
        return f"The key {name} expires on {_date_time(key.expires_at)}" if is_near else None
    return _unused_text(event, name, key, now)


def _unused_text(event: Event, name: str, key: ApiKey, now: datetime) -> str | None:
    used_at = key.last_use.at if key.last_use else None
    ends_at = event.data.get("ends_at")
    if isinstance(ends_at, str) and (used_at is None or used_at <= event.occurred_at):
        date = _date(parse_instant(ends_at))
        return f"The key {name} is unused and will be revoked on {date}"
    if used_at is None:
        return f"The key {name} has not been used since it was created on {_date(key.created_at)}"
    is_unused = used_at <= now - UNUSED_AFTER
    return f"The key {name} was last used on {_date(used_at)}" if is_unused else None


def _limit_text(event: Event) -> str:
    what = event.target.id.replace("_", " ").replace("api keys", "API keys")
    return f"The limit of {event.data.get('limit')} {what} was reached"


def _quoted(name: object) -> str:
    return f"“{name}”"


def _date_time(instant: datetime | None) -> str:
    return "" if instant is None else f"{_date(instant)}, {instant:%H:%M} UTC"


def _date(instant: datetime) -> str:
    return f"{instant.day} {instant:%B} {instant.year}"


def compose(
    workspace_name: str, member: Member, items: Sequence[DigestItem], base_url: str
) -> Email | None:
    """Return the digest for a member; None without items or a confirmed email.

    `base_url` is the address of the Developer area, without a slash at the end.
    """
    address = member.user.confirmed_email
    if address is None or not items:
        return None
    area = f"/w/{member.workspace_id}"
    settings = f"{area}/notices"
    parts = [
        f"What happened in the workspace {workspace_name}:",
        *(
            _section(topic, [item for item in items if item.topic is topic], base_url)
            for topic in Topic
        ),
        f"All keys: {base_url}{area}/keys\nManage notifications: {base_url}{settings}",
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    return Email(address, _subject(workspace_name, items), text, member.user.id, settings)


def _section(topic: Topic, items: Sequence[DigestItem], base_url: str) -> str:
    if not items:
        return ""
    shown = [f"- {item.text}\n  {base_url}{item.path}" for item in items[:MAX_ITEMS]]
    more = len(items) - MAX_ITEMS
    rest = [f"- and {more} more"] if more > 0 else []
    return "\n".join([TOPIC_LABELS[topic].upper(), *shown, *rest])


def _subject(workspace_name: str, items: Sequence[DigestItem]) -> str:
    """Return the first item and how many more there are."""
    more = f" (and {len(items) - 1} more)" if len(items) > 1 else ""
    return f"{workspace_name}: {items[0].text}{more}"
