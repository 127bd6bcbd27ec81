"""The form for a new key: what was entered, what is asked with it, and how it is shown again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final, TypeVar

from keystead.developer_area.web.contexts import Choice, Difference, differences
from keystead.developer_area.web.forms import FORM_TOKEN, Form
from keystead.developer_area.web.times import moment
from keystead.domain.errors import FieldError, Invalid, InvalidRequest
from keystead.domain.instants import format_instant, parse_instant
from keystead.domain.keys import UNSET, ApiKey, KeyDraft, KeyPatch, check_description, grantable
from keystead.domain.principals import Principal
from keystead.domain.scopes import EVERYTHING, FULL, READ_ONLY, ScopeCatalog, Scopes
from keystead.services.idempotency import Once

ONCE: Final = "once"
KEEP: Final = "keep"
"""What is chosen for an attribute that is to stay as it is."""
T = TypeVar("T")
_ONCE = re.compile(r"[A-Za-z0-9_-]{22}")
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
    """What the person entered, unchecked. An empty one has nothing chosen for the expiry.

    `shown_at`: the time from which the form counted the times that it showed (RFC 3339).
    """

    description: str = ""
    expiry: str = ""
    shown_at: str = ""
    expires_on: str = ""
    access: str = "full"
    scopes: tuple[str, ...] = ()

    @classmethod
    def of(cls, form: Form) -> KeyEntry:
        """As it was sent."""
        return cls(
            description=form.one("description"),
            expiry=form.one("expiry"),
            shown_at=form.one("shown_at"),
            expires_on=form.one("expires_on"),
            access=form.one("access"),
            scopes=form.many("scope"),
        )

    def draft(self, now: datetime, zone: tzinfo, *, may_keep: bool = False) -> KeyDraft:
        """What is asked for; what is kept is not. Invalid with one entry for every field that cannot be understood."""
        errors: list[FieldError] = []
        _gather(errors, lambda: check_description(self.description))
        kept = may_keep and self.expiry == KEEP
        expires_at = UNSET if kept else _gather(errors, lambda: self._expires_at(now, zone))
        kept = may_keep and self.access == KEEP
        scopes = UNSET if kept else _gather(errors, self._scopes)
        if errors or scopes is None:
            raise Invalid(errors)
        return KeyDraft(self.description, expires_at, scopes)

    def expiries(self, now: datetime, zone: tzinfo) -> Sequence[Choice]:
        """Return the choices for the expiry, each with the time in `zone` that it gives to a form shown `now`."""
        spans = [
            Choice(value, text, _until(_from(now) + span, now, zone), self.expiry == value)
            for value, (text, span) in _LIFETIMES.items()
        ]
        end_of_day = f"until the end of that day, your time ({zone})"
        on_date = Choice("date", "Custom date", end_of_day, self.expiry == "date")
        never = "Works until someone revokes it (not recommended)."
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

    def _expires_at(self, now: datetime, zone: tzinfo) -> datetime | None:
        if self.expiry == "never":
            return None
        if self.expiry == "date":
            return self._end_of_day(zone)
        if self.expiry not in _LIFETIMES:
            raise Invalid.field("/expires_at", "must be chosen: a span, a date or never")
        return _from(self._shown_at(now)) + _LIFETIMES[self.expiry][1]

    def _shown_at(self, now: datetime) -> datetime:
        """Return the time from which the choices were counted, so that a key gets the end that its maker saw."""
        try:
            return parse_instant(self.shown_at) if self.shown_at else now
        except ValueError:
            raise InvalidRequest("The form is incomplete.") from None

    def _end_of_day(self, zone: tzinfo) -> datetime:
        """Return the last second of the chosen day, in UTC.

        It is counted back from the start of the next day: on a day with a change of clocks the zone's 23:59:59 may
        come twice (Havana) or never (Nuuk), and the next day may start at 01:00 (Cairo).
        """
        try:
            chosen = datetime.strptime(self.expires_on, "%Y-%m-%d").replace(tzinfo=UTC).date()
            next_day = datetime.combine(chosen + timedelta(days=1), time(), zone)
            return next_day.astimezone(UTC) - timedelta(seconds=1)
        except (ValueError, OverflowError):
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


def shown_at(now: datetime) -> str:
    """Return what a form carries that is shown `now`."""
    return format_instant(_from(now))


def earliest_day(now: datetime, zone: tzinfo) -> str:
    """Return the first day that may be chosen as the last one: today, where the person is."""
    return now.astimezone(zone).date().isoformat()


def _from(now: datetime) -> datetime:
    return now.replace(microsecond=0)


def _until(end: datetime, now: datetime, zone: tzinfo) -> str:
    return f"until {moment(end, now, zone).exact}"


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


@dataclass(frozen=True, slots=True)
class EditEntry:
    """What the person entered, unchecked: as for a new key, where expiry and access may also be kept."""

    entered: KeyEntry

    @classmethod
    def of_key(cls, key: ApiKey) -> EditEntry:
        """As the key is."""
        return cls(
            KeyEntry(
                description=key.description, expiry=KEEP, access=KEEP, scopes=tuple(key.scopes)
            )
        )

    @classmethod
    def of_form(cls, form: Form) -> EditEntry:
        """As it was sent."""
        return cls(KeyEntry.of(form))

    @property
    def description(self) -> str:
        """The description."""
        return self.entered.description

    @property
    def expires_on(self) -> str:
        """The date, where one is chosen."""
        return self.entered.expires_on

    def patch(self, now: datetime, zone: tzinfo) -> KeyPatch:
        """What is to change. Invalid with one entry for every field that cannot be understood."""
        asked = self.entered.draft(now, zone, may_keep=True)
        return KeyPatch(asked.description, asked.expires_at, asked.scopes)

    def differences(self, key: ApiKey, now: datetime, zone: tzinfo) -> Sequence[Difference]:
        """Return what was entered beside what the key has now; what is kept does not differ."""
        ends = moment(key.expires_at, now, zone).exact if key.expires_at else "Never"
        fields = [("Description", self.description, key.description)]
        if self.entered.expiry != KEEP:
            fields.append(
                ("Expires", self.expires_on or _chosen(self.expiries(key, now, zone)), ends)
            )
        if self.entered.access != KEEP:
            scopes = ", ".join(key.scopes)
            picked = ", ".join(self.entered.scopes) if self.entered.access == "chosen" else ""
            fields.append(("Access", picked or _chosen(self.accesses(key)), scopes))
        return differences(*fields)

    def expiries(self, key: ApiKey, now: datetime, zone: tzinfo) -> Sequence[Choice]:
        """The choices for the expiry: as it is, and those of a new key."""
        ends = key.expires_at and moment(key.expires_at, now, zone)
        hint = f"{ends.relative}: {ends.exact}" if ends else "it never expires"
        kept = Choice(KEEP, "As it is", hint, self.entered.expiry == KEEP)
        return [kept, *self.entered.expiries(now, zone)]

    def accesses(self, key: ApiKey) -> Sequence[Choice]:
        """The choices for what the key may do, of which none is more than it may now."""
        access = self.entered.access
        choices = [Choice(KEEP, "As it is", "What it may do now.", access == KEEP)]
        if key.scopes.cover(Scopes(READ_ONLY)) and key.scopes != Scopes(READ_ONLY):
            hint = "Sees everything, changes nothing."
            choices.append(Choice("read-only", "Read-only", hint, access == "read-only"))
        chosen = Choice("chosen", "Chosen scopes", "Only what you tick.", access == "chosen")
        return [*choices, chosen]

    def scope_choices(self, key: ApiKey, catalog: ScopeCatalog) -> Sequence[Choice]:
        """The scopes that the key holds, one by one."""
        return [
            Choice(scope, scope, text, scope in self.entered.scopes)
            for scope, text in catalog.descriptions().items()
            if scope != EVERYTHING and key.scopes.permit(scope)
        ]


def _chosen(choices: Sequence[Choice]) -> str:
    return next((choice.text for choice in choices if choice.chosen), "")
