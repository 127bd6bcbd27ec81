"""Events as sentences for people: `Owner` `revoked the key` `data-warehouse sync` `(…4erw)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from keystead.domain.events import Event, EventType

NOUNS: Final[Mapping[str, str]] = {
    "key": "API keys",
    "limit": "Limits",
    "collection": "Collections",
    "documents": "Documents",
    "webhook": "Webhooks",
    "member": "Members and signing in",
    "workspace": "Workspace",
}
"""What types of events are about, by the part before the dot, in the order in which they are offered."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """What somebody did, to what, and more of it; `what` and `more` may be empty."""

    did: str
    what: str = ""
    more: str = ""

    def of(self, who: str) -> str:
        """The whole sentence, without a full stop."""
        return " ".join(part for part in (who, self.did, self.what, self.more) if part)


def sentence(event: Event) -> Sentence:
    """What `event` tells. A type without words of its own is told by its name."""
    tell = _SENTENCES.get(event.type)
    return Sentence(event.type, event.target.id) if tell is None else tell(_Facts(event))


def noun_of(event_type: EventType) -> str:
    """The part before the dot."""
    return event_type.partition(".")[0]


class _Facts:
    """What an event's data say, each as text; empty where they say nothing."""

    def __init__(self, event: Event) -> None:
        self.data: Mapping[str, Any] = event.data
        self.target = event.target.id
        self.is_own = event.target.id == event.actor.id

    def text(self, name: str) -> str:
        """The value of that name."""
        value = self.data.get(name)
        return "" if value is None else str(value)

    def listed(self, name: str) -> str:
        """A list of names in words."""
        value = self.data.get(name)
        names = value if isinstance(value, list | tuple) else []
        return ", ".join(_FIELDS.get(str(one), str(one)) for one in names)

    def count(self, name: str) -> int:
        """The number of that name; 0 where there is none."""
        value = self.data.get(name)
        return value if isinstance(value, int) else 0


_Tell = Callable[[_Facts], Sentence]
_FIELDS: Final = {"expires_at": "expiry"}
_WAYS: Final = {
    "link": "by a one-time link",
    "password": "by password",
    "portal": "from the product",
    "invitation": "by an invitation",
}


def _about_key(did: str) -> _Tell:
    return lambda facts: Sentence(did, facts.text("description") or facts.target, _hint(facts))


def _hint(facts: _Facts) -> str:
    last = facts.text("hint").rpartition("…")[2]
    changed = facts.listed("changed")
    return " ".join(filter(None, (last and f"(…{last})", changed and f"in its {changed}")))


def _about_target(did: str) -> _Tell:
    return lambda facts: Sentence(did, facts.target)


def _only(did: str) -> _Tell:
    return lambda _: Sentence(did)


def _documents(number: int) -> str:
    return f"{number:,} document" if number == 1 else f"{number:,} documents"


def _deleted_collection(facts: _Facts) -> Sentence:
    number = facts.count("documents")
    more = f"with its {_documents(number)}" if number else ""
    return Sentence("deleted the collection", facts.target, more)


def _pushed(facts: _Facts) -> Sentence:
    if facts.text("id"):
        return Sentence(f"pushed the document {facts.text('id')} to", facts.target)
    created, updated = facts.count("created"), facts.count("updated")
    parts = [
        f"{number:,} {word}" for number, word in ((created, "new"), (updated, "changed")) if number
    ]
    noun = "document" if created + updated == 1 else "documents"
    return Sentence(f"pushed {' and '.join(parts)} {noun} to", facts.target)


def _deleted_documents(facts: _Facts) -> Sentence:
    single = facts.text("id")
    what = f"the document {single}" if single else _documents(facts.count("deleted"))
    return Sentence(f"deleted {what} from", facts.target)


def _added(facts: _Facts) -> Sentence:
    role = f"as {facts.text('role')}"
    return (
        Sentence("joined", more=role)
        if facts.is_own
        else Sentence("added", facts.text("name"), role)
    )


def _invited(did: str) -> _Tell:
    return lambda facts: Sentence(did, facts.text("email"), f"as {facts.text('role')}")


def _role_changed(facts: _Facts) -> Sentence:
    change = f"from {facts.text('from')} to {facts.text('to')}"
    return Sentence("changed the role of", facts.text("name") or facts.target, change)


def _removed(facts: _Facts) -> Sentence:
    if facts.is_own:
        return Sentence("left the workspace")
    return Sentence("removed", facts.text("name") or facts.target)


def _signed_in(facts: _Facts) -> Sentence:
    did = "confirmed who they are" if facts.data.get("again") else "signed in"
    wrong = facts.count("wrong_passwords_before")
    way = _WAYS.get(facts.text("by"), "")
    tries = f"after {wrong:,} wrong password{'' if wrong == 1 else 's'}" if wrong else ""
    return Sentence(did, more=" ".join(filter(None, (way, tries))))


def _signed_out(facts: _Facts) -> Sentence:
    ended = facts.count("sessions")
    if not ended:
        return Sentence("signed out")
    return Sentence(f"ended {ended:,} of their sessions")


def _email_changed(facts: _Facts) -> Sentence:
    change = f"from {facts.text('from') or 'none'} to {facts.text('to') or 'none'}"
    return Sentence("changed their e-mail", more=change)


def _renamed(facts: _Facts) -> Sentence:
    change = f"from {facts.text('from')} to {facts.text('to')}"
    return Sentence("renamed the workspace", more=change)


def _expiring(facts: _Facts) -> Sentence:
    days = facts.count("days")
    more = f"ends in {days} day{'' if days == 1 else 's'}"
    return Sentence("saw that the key", facts.text("description") or facts.target, more)


def _unused(facts: _Facts) -> Sentence:
    more = f"was not used for {facts.count('days')} days"
    return Sentence("saw that the key", facts.text("description") or facts.target, more)


def _saw_key(more: str) -> _Tell:
    return lambda facts: Sentence(
        "saw that the key", facts.text("description") or facts.target, more
    )


def _limit_reached(facts: _Facts) -> Sentence:
    what = facts.target.replace("_", " ").replace("api keys", "API keys")
    return Sentence(f"met the limit of {facts.text('limit')} {what}")


def _about_webhook(did: str) -> _Tell:
    def tell(facts: _Facts) -> Sentence:
        changed = facts.listed("changed")
        more = f"in its {changed}" if changed else _REASONS.get(facts.text("reason"), "")
        return Sentence(did, facts.text("name") or facts.target, more)

    return tell


def _plan_changed(facts: _Facts) -> Sentence:
    return Sentence("put the workspace on the plan", facts.text("plan"))


_REASONS: Final = {
    "failing": "after every attempt of a delivery had failed",
    "gone": "as its receiver wants nothing more",
}
_SENTENCES: Final[Mapping[EventType, _Tell]] = {
    EventType.KEY_CREATED: _about_key("created the key"),
    EventType.KEY_UPDATED: _about_key("changed the key"),
    EventType.KEY_ROTATED: _about_key("rotated the key"),
    EventType.KEY_REVOKED: _about_key("revoked the key"),
    EventType.KEY_EXPIRED: _saw_key("has expired"),
    EventType.KEY_EXPIRING: _expiring,
    EventType.KEY_UNUSED: _unused,
    EventType.KEY_REFUSED: _saw_key("is called with after its end"),
    EventType.LIMIT_REACHED: _limit_reached,
    EventType.WEBHOOK_CREATED: _about_webhook("created the webhook"),
    EventType.WEBHOOK_UPDATED: _about_webhook("changed the webhook"),
    EventType.WEBHOOK_DELETED: _about_webhook("deleted the webhook"),
    EventType.WEBHOOK_SECRET_ROTATED: _about_webhook("made another secret for the webhook"),
    EventType.WEBHOOK_ENABLED: _about_webhook("switched on the webhook"),
    EventType.WEBHOOK_DISABLED: _about_webhook("switched off the webhook"),
    EventType.WEBHOOK_TEST: _about_webhook("sent a test to the webhook"),
    EventType.COLLECTION_CREATED: _about_target("created the collection"),
    EventType.COLLECTION_UPDATED: _about_target("changed the title of the collection"),
    EventType.COLLECTION_DELETED: _deleted_collection,
    EventType.DOCUMENTS_PUSHED: _pushed,
    EventType.DOCUMENTS_DELETED: _deleted_documents,
    EventType.MEMBER_ADDED: _added,
    EventType.MEMBER_INVITED: _invited("invited"),
    EventType.MEMBER_INVITATION_REVOKED: _invited("withdrew the invitation of"),
    EventType.MEMBER_ROLE_CHANGED: _role_changed,
    EventType.MEMBER_REMOVED: _removed,
    EventType.MEMBER_SIGNED_IN: _signed_in,
    EventType.MEMBER_SIGNED_OUT: _signed_out,
    EventType.MEMBER_PASSWORD_CHANGED: _only("changed their password"),
    EventType.MEMBER_EMAIL_CHANGED: _email_changed,
    EventType.WORKSPACE_CREATED: _only("created the workspace"),
    EventType.WORKSPACE_UPDATED: _renamed,
    EventType.WORKSPACE_SUSPENDED: _only("suspended the workspace"),
    EventType.WORKSPACE_RESUMED: _only("resumed the workspace"),
    EventType.WORKSPACE_PLAN_CHANGED: _plan_changed,
}
