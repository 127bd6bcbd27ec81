"""Digests: what a workspace is told by e-mail, at most once a day, in one letter and not one for each key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from keystead.domain.errors import Invalid
from keystead.domain.events import Event, EventType
from keystead.domain.key_hygiene import UNUSED_AFTER
from keystead.domain.keys import EXPIRES_SOON, ApiKey, KeyStatus
from keystead.domain.mail import Email
from keystead.domain.workspaces import Member, Role

GATHERING_DELAY: Final = timedelta(minutes=15)
"""After the first news of a day, so long is waited for more."""
INTERVAL: Final = timedelta(days=1)
MAX_EVENT_AGE: Final = timedelta(days=7)
"""What is older is no news any more: mail that was off for long begins with what is recent."""
MAX_ITEMS: Final = 20
"""Of each topic; the rest is counted."""


class Topic(StrEnum):
    """What a member may be told of."""

    EXPIRING = "expiring"
    UNUSED = "unused"
    REFUSED = "refused"
    LIMIT = "limit"
    WEBHOOK = "webhook"


TOPIC_OF: Final[Mapping[EventType, Topic]] = {
    EventType.KEY_EXPIRING: Topic.EXPIRING,
    EventType.KEY_UNUSED: Topic.UNUSED,
    EventType.KEY_REFUSED: Topic.REFUSED,
    EventType.LIMIT_REACHED: Topic.LIMIT,
    EventType.WEBHOOK_DISABLED: Topic.WEBHOOK,
}
TOPIC_LABELS: Final[Mapping[Topic, str]] = {
    Topic.EXPIRING: "Keys that end soon",
    Topic.UNUSED: "Keys that nobody uses",
    Topic.REFUSED: "Keys that have ended and are still called with",
    Topic.LIMIT: "Limits that were reached",
    Topic.WEBHOOK: "Webhooks that were disabled",
}
"""Each topic for people, as the headings of a letter and of the settings."""

ALL_TOPICS: Final = frozenset(Topic)
_BY_DEFAULT: Final[Mapping[Role, frozenset[Topic]]] = {
    Role.OWNER: ALL_TOPICS,
    Role.ADMIN: ALL_TOPICS,
}


@dataclass(frozen=True, slots=True)
class DigestItem:
    """One piece of news: of what topic, in a sentence without a full stop, and the page that shows it."""

    topic: Topic
    text: str
    path: str


def default_topics(role: Role) -> frozenset[Topic]:
    """What members of that role are told until they choose."""
    return _BY_DEFAULT.get(role, frozenset())


def check_topics(names: Iterable[str]) -> frozenset[Topic]:
    """The topics of those names; Invalid for a name that is none."""
    try:
        return frozenset(Topic(name) for name in names)
    except ValueError:
        raise Invalid.field("/topics", "has a topic that there is not") from None


def is_reportable(event: Event, now: datetime) -> bool:
    """Whether a digest at `now` tells of `event`."""
    return event.type in TOPIC_OF and event.occurred_at > now - MAX_EVENT_AGE


def digest_item(event: Event, key: ApiKey | None, now: datetime) -> DigestItem | None:
    """What a digest says of an event at `now`; None where it is true no more. `key` is what it is about, if a key.

    A key that was prolonged or has ended needs no warning, and one that was used meanwhile is not unused.
    """
    topic, area = TOPIC_OF[event.type], f"/w/{event.workspace_id}"
    match topic:
        case Topic.LIMIT:
            return DigestItem(topic, _limit_words(event), f"{area}/plan")
        case Topic.WEBHOOK:
            text = f"The webhook {_quoted(event.data.get('name'))} was disabled"
            return DigestItem(topic, text, f"{area}/webhooks/{event.target.id}")
        case _:
            words = None if key is None else _key_words(topic, key, now)
            return (
                None
                if words is None
                else DigestItem(topic, words, f"{area}/keys/{event.target.id}")
            )


def _key_words(topic: Topic, key: ApiKey, now: datetime) -> str | None:
    name, is_active = (
        f"{_quoted(key.description)} ({key.hint})",
        key.status(now) is KeyStatus.ACTIVE,
    )
    if topic is Topic.REFUSED:
        return None if is_active else f"The key {name} has ended, and somebody still calls with it"
    if not is_active:
        return None
    if topic is Topic.EXPIRING:
        is_near = key.expires_at is not None and key.expires_at <= now + EXPIRES_SOON
        return f"The key {name} ends on {_moment(key.expires_at)}" if is_near else None
    if key.last_use is None:
        return f"The key {name} was never used since {_day(key.created_at)}"
    is_unused = key.last_use.at <= now - UNUSED_AFTER
    return f"The key {name} was last used on {_day(key.last_use.at)}" if is_unused else None


def _limit_words(event: Event) -> str:
    what = event.target.id.replace("_", " ").replace("api keys", "API keys")
    return f"The limit of {event.data.get('limit')} {what} was reached"


def _quoted(name: object) -> str:
    return f"“{name}”"


def _moment(instant: datetime | None) -> str:
    return "" if instant is None else f"{_day(instant)}, {instant:%H:%M} UTC"


def _day(instant: datetime) -> str:
    return f"{instant.day} {instant:%B} {instant.year}"


def compose(
    workspace_name: str, member: Member, lines: Sequence[DigestItem], base_url: str
) -> Email | None:
    """Return the letter to a member with all these lines; None without a line or a confirmed email.

    `base_url` is where the Developer area is, without a slash at the end.
    """
    address = member.user.confirmed_email
    if address is None or not lines:
        return None
    area = f"/w/{member.workspace_id}"
    settings = f"{area}/notices"
    parts = [
        f"What happened in the workspace {workspace_name}:",
        *(
            _part(topic, [line for line in lines if line.topic is topic], base_url)
            for topic in Topic
        ),
        f"All keys: {base_url}{area}/keys\nWhat you are told, and whether: {base_url}{settings}",
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    return Email(address, _subject(workspace_name, lines), text, member.user.id, settings)


def _part(topic: Topic, lines: Sequence[DigestItem], base_url: str) -> str:
    if not lines:
        return ""
    shown = [f"- {line.text}\n  {base_url}{line.path}" for line in lines[:MAX_ITEMS]]
    more = len(lines) - MAX_ITEMS
    rest = [f"- and {more} more"] if more > 0 else []
    return "\n".join([TOPIC_LABELS[topic].upper(), *shown, *rest])


def _subject(workspace_name: str, lines: Sequence[DigestItem]) -> str:
    """The first news, and how many more: what an inbox shows."""
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    return f"{workspace_name}: {lines[0].text}{more}"
