"""Events as sentences: `Owner` `revoked the key` `data-warehouse sync` `(…4erw)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from keystead.developer_area.web.labels import plural
from keystead.domain import disuse, policies
from keystead.domain.events import Event, EventType

NOUNS: Final[Mapping[str, str]] = {
    "key": "API keys",
    "limit": "Limits",
    "collection": "Collections",
    "documents": "Documents",
    "webhook": "Webhooks",
    "member": "Members and sign-in",
    "workspace": "Workspace",
}
"""Groups of event types by the part before the dot, in display order."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """The parts after the actor; `object` and `details` may be empty."""

    action: str
    object: str = ""
    details: str = ""

    def of(self, actor: str) -> str:
        """Return the whole sentence without a full stop."""
        return " ".join(part for part in (actor, self.action, self.object, self.details) if part)


def sentence(event: Event) -> Sentence:
    """Return the sentence of an event. An unknown type is named as it is."""
    describe = _SENTENCES.get(event.type)
    return Sentence(event.type, event.target.id) if describe is None else describe(_Facts(event))


def noun_of(event_type: EventType) -> str:
    """Return the part of an event type before the dot."""
    return event_type.partition(".")[0]


class _Facts:
    """An event's data as text, empty for absent values."""

    def __init__(self, event: Event) -> None:
        self.data: Mapping[str, Any] = event.data
        self.target = event.target.id
        self.is_own = event.target.id == event.actor.id

    def text(self, name: str) -> str:
        """Return a value."""
        value = self.data.get(name)
        return "" if value is None else str(value)

    def listed(self, name: str) -> str:
        """Return a list of field names."""
        value = self.data.get(name)
        names = value if isinstance(value, list | tuple) else []
        return ", ".join(FIELDS.get(str(field), str(field)) for field in names)

    def count(self, name: str) -> int:
        """Return a number, 0 if absent."""
        value = self.data.get(name)
        return value if isinstance(value, int) else 0


_Describe = Callable[[_Facts], Sentence]
FIELDS: Final[Mapping[str, str]] = {
    "scopes": "access",
    "expires_at": "expiry",
    "external_id": "external ID",
    "rate_limit": "rate limit",
    "rate_limits": "rate limits",
    "stored_in": "where it is stored",
}
"""Names of changed fields, as people call them."""
_METHODS: Final = {
    "link": "by a one-time link",
    "password": "by password",
    "portal": "from the product",
    "invitation": "by an invitation",
}


def _about_key(action: str) -> _Describe:
    return lambda facts: Sentence(action, facts.text("description") or facts.target, _hint(facts))


def _hint(facts: _Facts) -> str:
    last = facts.text("hint").rpartition("…")[2]
    changed = facts.listed("changed")
    return " ".join(filter(None, (last and f"(…{last})", changed and f"({changed})")))


def _about_target(action: str) -> _Describe:
    return lambda facts: Sentence(action, facts.target)


def _only(action: str) -> _Describe:
    return lambda _: Sentence(action)


def _deleted_collection(facts: _Facts) -> Sentence:
    number = facts.count("documents")
    documents = f"with its {plural(number, 'document')}" if number else ""
    return Sentence("deleted the collection", facts.target, documents)


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
    documents = f"the document {single}" if single else plural(facts.count("deleted"), "document")
    return Sentence(f"deleted {documents} from", facts.target)


def _added(facts: _Facts) -> Sentence:
    role = f"as {facts.text('role')}"
    if facts.is_own:
        return Sentence("joined", details=role)
    return Sentence("added", facts.text("name"), role)


def _invited(action: str) -> _Describe:
    return lambda facts: Sentence(action, facts.text("email"), f"as {facts.text('role')}")


def _role_changed(facts: _Facts) -> Sentence:
    change = f"from {facts.text('from')} to {facts.text('to')}"
    return Sentence("changed the role of", facts.text("name") or facts.target, change)


def _removed(facts: _Facts) -> Sentence:
    if facts.is_own:
        return Sentence("left the workspace")
    return Sentence("removed", facts.text("name") or facts.target)


def _signed_in(facts: _Facts) -> Sentence:
    action = "signed in again" if facts.data.get("again") else "signed in"
    wrong = facts.count("wrong_passwords_before")
    method = _METHODS.get(facts.text("by"), "")
    attempts = f"after {plural(wrong, 'wrong password')}" if wrong else ""
    return Sentence(action, details=" ".join(filter(None, (method, attempts))))


def _signed_out(facts: _Facts) -> Sentence:
    ended = facts.count("sessions")
    return Sentence(f"ended {ended:,} of their sessions" if ended else "signed out")


def _email_changed(facts: _Facts) -> Sentence:
    change = f"from {facts.text('from') or 'none'} to {facts.text('to') or 'none'}"
    return Sentence("changed their email", details=change)


def _workspace_updated(facts: _Facts) -> Sentence:
    if changed := facts.listed("changed"):
        return Sentence("changed the workspace", details=f"({changed})")
    change = f"from {facts.text('from')} to {facts.text('to')}"
    return Sentence("renamed the workspace", details=change)


def _key_alert(outcome: Callable[[_Facts], str]) -> _Describe:
    """Return the sentence of an event caused by time, such as `noticed that` `sync` `expires in 3 days`."""
    return lambda facts: Sentence(
        "noticed that the key", facts.text("description") or facts.target, outcome(facts)
    )


def _days(facts: _Facts) -> str:
    return plural(facts.count("days"), "day")


def _limit_reached(facts: _Facts) -> Sentence:
    what = facts.target.replace("_", " ").replace("api keys", "API keys")
    return Sentence(f"reached the limit of {facts.text('limit')} {what}")


def _about_webhook(action: str) -> _Describe:
    def describe(facts: _Facts) -> Sentence:
        changed = facts.listed("changed")
        details = f"({changed})" if changed else _REASONS.get(facts.text("reason"), "")
        return Sentence(action, facts.text("name") or facts.target, details)

    return describe


def _resent(facts: _Facts) -> Sentence:
    deliveries = plural(facts.count("deliveries"), "failed delivery", "failed deliveries")
    return Sentence(f"resent {deliveries} of the webhook", facts.text("name") or facts.target)


def _plan_changed(facts: _Facts) -> Sentence:
    return Sentence("moved the workspace to the plan", facts.text("plan"))


def _policy_changed(facts: _Facts) -> Sentence:
    members = facts.data.get("policy", {})
    # A later version may write members that this one doesn't know.
    policy = policies.Policy(*(members.get(name) for name in policies.POLICY_NAMES))
    phrases = policies.describe(policy)
    return Sentence("set the policy:", "", f"keys {', '.join(phrases) or 'have no bounds'}")


def _unused(facts: _Facts) -> str:
    date = facts.text("ends_at").partition("T")[0]
    ending = f" and will be revoked on {date} if it stays unused" if date else ""
    return f"hasn't been used for {_days(facts)}{ending}"


def _revoked(facts: _Facts) -> Sentence:
    is_unused = facts.text("reason") == disuse.REASON
    name, hint = facts.text("description") or facts.target, _hint(facts)
    details = f"{hint} because it wasn't used" if is_unused else hint
    return Sentence("revoked the key", name, details)


_REASONS: Final = {
    "failing": "after all attempts of a delivery failed",
    "gone": "because its receiver responded 410 Gone",
}
_SENTENCES: Final[Mapping[EventType, _Describe]] = {
    EventType.KEY_CREATED: _about_key("created the key"),
    EventType.KEY_UPDATED: _about_key("changed the key"),
    EventType.KEY_ROTATED: _about_key("rotated the key"),
    EventType.KEY_REVOKED: _revoked,
    EventType.KEY_EXPIRED: _key_alert(lambda _: "has expired"),
    EventType.KEY_EXPIRING: _key_alert(lambda facts: f"expires in {_days(facts)}"),
    EventType.KEY_UNUSED: _key_alert(_unused),
    EventType.KEY_REFUSED: _key_alert(lambda _: "was used after it ended"),
    EventType.KEY_REUSED: _key_alert(lambda _: "was sent although its successor is in use"),
    EventType.LIMIT_REACHED: _limit_reached,
    EventType.WEBHOOK_CREATED: _about_webhook("created the webhook"),
    EventType.WEBHOOK_UPDATED: _about_webhook("changed the webhook"),
    EventType.WEBHOOK_DELETED: _about_webhook("deleted the webhook"),
    EventType.WEBHOOK_SECRET_ROTATED: _about_webhook("rotated the secret of the webhook"),
    EventType.WEBHOOK_ENABLED: _about_webhook("resumed the webhook"),
    EventType.WEBHOOK_DISABLED: _about_webhook("paused the webhook"),
    EventType.WEBHOOK_RESENT: _resent,
    EventType.WEBHOOK_TEST: _about_webhook("sent a test to the webhook"),
    EventType.COLLECTION_CREATED: _about_target("created the collection"),
    EventType.COLLECTION_UPDATED: _about_target("changed the title of the collection"),
    EventType.COLLECTION_DELETED: _deleted_collection,
    EventType.DOCUMENTS_PUSHED: _pushed,
    EventType.DOCUMENTS_DELETED: _deleted_documents,
    EventType.MEMBER_ADDED: _added,
    EventType.MEMBER_INVITED: _invited("invited"),
    EventType.MEMBER_INVITATION_REVOKED: _invited("revoked the invitation of"),
    EventType.MEMBER_ROLE_CHANGED: _role_changed,
    EventType.MEMBER_REMOVED: _removed,
    EventType.MEMBER_SIGNED_IN: _signed_in,
    EventType.MEMBER_SIGNED_OUT: _signed_out,
    EventType.MEMBER_PASSWORD_CHANGED: _only("changed their password"),
    EventType.MEMBER_EMAIL_CHANGED: _email_changed,
    EventType.WORKSPACE_CREATED: _only("created the workspace"),
    EventType.WORKSPACE_UPDATED: _workspace_updated,
    EventType.WORKSPACE_SUSPENDED: _only("suspended the workspace"),
    EventType.WORKSPACE_RESUMED: _only("resumed the workspace"),
    EventType.WORKSPACE_PLAN_CHANGED: _plan_changed,
    EventType.WORKSPACE_EXPORTED: _only("exported the workspace's data"),
    EventType.WORKSPACE_POLICY_CHANGED: _policy_changed,
}
