"""The form for a new key: what was entered, what is asked with it, and how it is shown again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, TypeVar

from keystead.developer_area.forms import FORM_TOKEN, Form
from keystead.developer_area.moments import day
from keystead.developer_area.pages import Choice
from keystead.domain.errors import FieldError, Invalid, InvalidRequest
from keystead.domain.keys import UNSET, KeyDraft, check_description, grantable
from keystead.domain.principals import Principal
from keystead.domain.scopes import EVERYTHING, FULL, READ_ONLY, ScopeCatalog, Scopes
from keystead.services.idempotency import Once

ONCE: Final = "once"
KEEP: Final = "keep"
"""What is chosen for an attribute that is to stay as it is."""
T = TypeVar("T")
_ONCE = re.compile(r"[A-Za-z0-9_-]{22}")
_END_OF_DAY = time(23, 59, 59, tzinfo=UTC)
_LIFETIMES: Final = {
    "30": ("30 days", timedelta(days=30)),
    "90": ("90 days", timedelta(days=90)),
    "365": ("1 year", timedelta(days=365)),
}
_ACCESSES: Final = (
    Choice("full", "Full access", "All data of this workspace, but not its keys."),
    Choice("read-only", "Read-only", "Sees everything, changes nothing."),
    Choice("chosen", "Chosen scopes", "Only what you tick."),
)


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """What the person entered, unchecked. An empty one has nothing chosen for the expiry."""

    description: str = ""
    expiry: str = ""
    expires_on: str = ""
    access: str = "full"
    scopes: tuple[str, ...] = ()

    @classmethod
    def of(cls, form: Form) -> KeyEntry:
        """As it was sent."""
        return cls(
            description=form.one("description"),
            expiry=form.one("expiry"),
            expires_on=form.one("expires_on"),
            access=form.one("access"),
            scopes=form.many("scope"),
        )

    def draft(self, now: datetime, *, may_keep: bool = False) -> KeyDraft:
        """What is asked for; what is kept is not. Invalid with one entry for every field that cannot be understood."""
        errors: list[FieldError] = []
        _gather(errors, lambda: check_description(self.description))
        kept = may_keep and self.expiry == KEEP
        expires_at = UNSET if kept else _gather(errors, lambda: self._expires_at(now))
        kept = may_keep and self.access == KEEP
        scopes = UNSET if kept else _gather(errors, self._scopes)
        if errors or scopes is None:
            raise Invalid(errors)
        return KeyDraft(self.description, expires_at, scopes)

    def expiries(self, now: datetime) -> Sequence[Choice]:
        """The choices for the expiry."""
        spans = [
            Choice(value, text, f"until {day(now + span)}", self.expiry == value)
            for value, (text, span) in _LIFETIMES.items()
        ]
        on_date = Choice(
            "date", "On a date", "through the end of that day, UTC", self.expiry == "date"
        )
        never = "until someone revokes it, even when nobody remembers it"
        return [*spans, on_date, Choice("never", "Never", never, self.expiry == "never")]

    def accesses(self) -> Sequence[Choice]:
        """The choices for what the key may do."""
        return [Choice(c.value, c.text, c.hint, c.value == self.access) for c in _ACCESSES]

    def scope_choices(self, principal: Principal, catalog: ScopeCatalog) -> Sequence[Choice]:
        """The scopes that the person may hand out, one by one."""
        allowed = grantable(principal)
        return [
            Choice(scope, scope, text, scope in self.scopes)
            for scope, text in catalog.descriptions().items()
            if scope != EVERYTHING and allowed.permit(scope)
        ]

    def _expires_at(self, now: datetime) -> datetime | None:
        if self.expiry == "never":
            return None
        if self.expiry == "date":
            return datetime.combine(self._date(), _END_OF_DAY)
        if self.expiry not in _LIFETIMES:
            raise Invalid.field("/expires_at", "must be chosen: a span, a date or never")
        return now.replace(microsecond=0) + _LIFETIMES[self.expiry][1]

    def _date(self) -> date:
        try:
            return datetime.strptime(self.expires_on, "%Y-%m-%d").replace(tzinfo=UTC).date()
        except ValueError:
            raise Invalid.field("/expires_at", "must be a date of the calendar") from None

    def _scopes(self) -> Scopes:
        match self.access:
            case "full":
                return FULL
            case "read-only":
                return Scopes(READ_ONLY)
            case "chosen" if self.scopes:
                return Scopes(self.scopes)
            case "chosen":
                raise Invalid.field("/scopes", "must be chosen: tick at least one")
            case _:
                raise Invalid.field("/scopes", "must be chosen: full, read-only, or by scope")


def _gather(errors: list[FieldError], read: Callable[[], T]) -> T | None:
    try:
        return read()
    except Invalid as refused:
        errors += refused.errors
        return None


def once_of(form: Form) -> Once:
    """The form's own nonce, so that the same form makes one key however often it arrives."""
    nonce = form.one(ONCE)
    if not _ONCE.fullmatch(nonce):
        raise InvalidRequest("The form is incomplete.")
    return Once(f"form:{nonce}", form.fingerprint(ONCE, FORM_TOKEN))


def problems_of(refused: Invalid) -> Mapping[str, str]:
    """A sentence for each refused field, by the field's name in the form."""
    names = {"description": ("description", "The description")}
    names["expires_at"] = ("expiry", "The expiry")
    names["scopes"] = ("access", "The access")
    problems = {}
    for error in refused.errors:
        name, subject = names.get(error.pointer.split("/")[1], ("description", "This"))
        problems[name] = f"{subject} {error.detail}."
    return problems
