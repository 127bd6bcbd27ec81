"""The forms of a key: the user's entries, the drafts and patches they become, and the options on display."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from typing import Final, TypeVar

from keystead.developer_area.keys.access import Grid, grid_of, scopes_in
from keystead.developer_area.keys.options import NO_OPTIONS, KeyOptions
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import Choice, Difference, differences
from keystead.developer_area.web.forms import Form
from keystead.developer_area.web.labels import field_problems
from keystead.developer_area.web.timestamps import timestamp
from keystead.domain.errors import FieldError, Invalid, InvalidRequest
from keystead.domain.instants import format_instant, parse_instant
from keystead.domain.keys import (
    UNSET,
    ApiKey,
    KeyDraft,
    KeyPatch,
    check_description,
    grantable,
    has_passed,
    outlives,
)
from keystead.domain.policies import NO_POLICY, Policy, allows_end
from keystead.domain.principals import Principal
from keystead.domain.scopes import EVERYTHING, FULL, ScopeCatalog, Scopes
from keystead.domain.time_zones import end_of_day

KEEP: Final = "keep"
"""The option that leaves an attribute unchanged."""
T = TypeVar("T")
_LIFETIMES: Final = {
    "30": ("30 days", timedelta(days=30)),
    "90": ("90 days", timedelta(days=90)),
    "365": ("1 year", timedelta(days=365)),
}
_FULL: Final = Choice("full", "Full access", "Read and write all data. Can't manage keys.")
_READ_ONLY: Final = Choice("read-only", "Read-only", "View all data. Can't make changes.")
_CUSTOM: Final = Choice("chosen", "Custom access", "Choose permissions.")


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """The unchecked input of a new key. An empty one has no expiry and no access chosen.

    `shown_at`: the time from which the form counted the times that it showed (RFC 3339).
    """

    description: str = ""
    expiry: str = ""
    shown_at: str = ""
    expires_on: str = ""
    access: str = ""
    scopes: tuple[str, ...] = ()
    options: KeyOptions = NO_OPTIONS

    @classmethod
    def of(cls, form: Form) -> KeyEntry:
        """Return the input of a submitted form."""
        return cls(
            description=form.one("description"),
            expiry=form.one("expiry"),
            shown_at=form.one("shown_at"),
            expires_on=form.one("expires_on"),
            access=form.one("access"),
            scopes=scopes_in(form),
            options=KeyOptions.of_form(form),
        )

    @classmethod
    def like(cls, key: ApiKey, now: datetime, zone: tzinfo, catalog: ScopeCatalog) -> KeyEntry:
        """Return the input of another key like this one. Its expiry and its place are still to be chosen."""
        options = replace(KeyOptions.of_key(key, zone), stored_in="")
        if key.renewal and has_passed(key.renewal.until, now):
            options = replace(options, renews=False, renewal_on="")
        return cls(
            description=key.description,
            access=option_for(key.scopes, catalog),
            scopes=tuple(key.scopes),
            options=options,
        )

    def inexact(self, principal: Principal, catalog: ScopeCatalog) -> str:
        """Return which of the scopes the member can't choose in the grid; empty if there are none."""
        if self.access != "chosen":
            return ""
        allowed = grantable(principal)
        left = [
            scope
            for scope in self.scopes
            if scope == EVERYTHING or scope not in catalog or not allowed.permit(scope)
        ]
        names = ", ".join(left)
        text = f"This access can't be copied exactly: it's without {names}. Check what is chosen."
        return text if left else ""

    def draft(
        self, now: datetime, zone: tzinfo, catalog: ScopeCatalog, *, may_keep: bool = False
    ) -> KeyDraft:
        """Return the requested attributes, UNSET for kept ones. Invalid with every field that can't be parsed."""
        errors: list[FieldError] = []
        _collect(errors, lambda: check_description(self.description))
        keep = may_keep and self.expiry == KEEP
        expires_at = UNSET if keep else _collect(errors, lambda: self._expires_at(now, zone))
        keep = may_keep and self.access == KEEP
        scopes = UNSET if keep else _collect(errors, lambda: self._scopes(catalog))
        networks = _collect(errors, self.options.networks_for)
        metadata = _collect(errors, self.options.metadata_for)
        renewal = _collect(errors, lambda: self.options.renewal_for(zone))
        place = _collect(errors, self.options.place_for)
        if errors or scopes is None or networks is None or metadata is None or place is None:
            raise Invalid(errors)
        return KeyDraft(self.description, expires_at, scopes, networks, metadata, renewal, place)

    def expiries(
        self, now: datetime, zone: tzinfo, allows: Callable[[datetime | None], bool]
    ) -> Sequence[Choice]:
        """Return the options for the expiry, each with the time in `zone` it means in a form shown at `now`.

        `allows`: whether a key may expire then; None is never.
        """
        lifetimes = [
            Choice(value, text, _until(_whole(now) + lifetime, now, zone), self.expiry == value)
            for value, (text, lifetime) in _LIFETIMES.items()
            if allows(_whole(now) + lifetime)
        ]
        end_of_day = f"until the end of that day, your time ({zone})"
        on_date = Choice("date", "Custom date", end_of_day, self.expiry == "date")
        hint = "Works until someone revokes it (not recommended)."
        never = Choice("never", "Never", hint, self.expiry == "never")
        return [*lifetimes, on_date, *([never] if allows(None) else [])]

    def accesses(self) -> Sequence[Choice]:
        """Return the options for the access."""
        return _selected([_FULL, _READ_ONLY, _CUSTOM], self.access)

    def grid(self, principal: Principal, catalog: ScopeCatalog) -> Grid:
        """Return the grid, in which the member may choose what they may grant."""
        return grid_of(
            catalog,
            grantable(principal),
            self.scopes,
            reason="Your role can't grant {}.",
            presets={"full": FULL, "read-only": catalog.read_only},
            access=self.access,
        )

    def expiry_date(self, now: datetime, zone: tzinfo) -> datetime:
        """Return the chosen time. Invalid without a choice of one."""
        expires_at = self._expires_at(now, zone)
        if expires_at is None:
            raise Invalid.field("/expires_at", "Choose when the keys expire")
        return expires_at

    def _expires_at(self, now: datetime, zone: tzinfo) -> datetime | None:
        if self.expiry == "never":
            return None
        if self.expiry == "date":
            return self._end_of_day(zone)
        if self.expiry not in _LIFETIMES:
            raise Invalid.field("/expires_at", "Choose when the key expires")
        return _whole(self._shown_at(now)) + _LIFETIMES[self.expiry][1]

    def _shown_at(self, now: datetime) -> datetime:
        # Not the time of sending: the key must get the exact end that the form showed to its creator.
        try:
            return parse_instant(self.shown_at) if self.shown_at else now
        except ValueError:
            raise InvalidRequest("The form is incomplete.") from None

    def _end_of_day(self, zone: tzinfo) -> datetime:
        try:
            return end_of_day(self.expires_on, zone)
        except ValueError:
            raise Invalid.field("/expires_at", "must be a valid date") from None

    def _scopes(self, catalog: ScopeCatalog) -> Scopes:
        match self.access:
            case "full":
                return FULL
            case "read-only":
                return catalog.read_only
            case "chosen" if self.scopes:
                return Scopes(self.scopes)
            case "chosen":
                raise Invalid.field("/scopes", "Choose at least one permission")
            case _:
                raise Invalid.field("/scopes", "Choose what the key may do")


@dataclass(frozen=True, slots=True)
class EditEntry:
    """The unchecked input of an edit: like a new key's, but expiry and access may be kept."""

    entered: KeyEntry

    @classmethod
    def of_key(cls, key: ApiKey, zone: tzinfo) -> EditEntry:
        """Return the key's attributes, all kept."""
        return cls(
            KeyEntry(
                description=key.description,
                expiry=KEEP,
                access=KEEP,
                scopes=tuple(key.scopes),
                options=KeyOptions.of_key(key, zone),
            )
        )

    @classmethod
    def of_form(cls, form: Form) -> EditEntry:
        """Return the input of a submitted form."""
        return cls(KeyEntry.of(form))

    def patch(self, key: ApiKey, now: datetime, zone: tzinfo, catalog: ScopeCatalog) -> KeyPatch:
        """Return the change of `key`. Invalid with every field that can't be parsed."""
        draft = self.entered.draft(now, zone, catalog, may_keep=True)
        options = self.entered.options
        return KeyPatch(
            draft.description,
            draft.expires_at,
            draft.scopes,
            draft.networks,
            options.metadata_changes(key),
            options.renewal_for(zone, key),
            UNSET if options.stored_in is None else draft.stored_in,
        )

    def differences(
        self, key: ApiKey, visit: MemberVisit, catalog: ScopeCatalog
    ) -> Sequence[Difference]:
        """Return the input that differs from the key's present attributes. Kept ones don't."""
        entered = self.entered
        fields = [("Description", entered.description, key.description)]
        if entered.expiry != KEEP:
            expiry = visit.timestamp(key.expires_at)
            chosen = entered.expires_on or _chosen_text(self.expiries(key, visit, NO_POLICY))
            fields.append(("Expires", chosen, expiry.exact if expiry else "Never"))
        if entered.access != KEEP:
            scopes = ", ".join(entered.scopes) if entered.access == "chosen" else ""
            chosen = scopes or _chosen_text(self.accesses(key, catalog))
            fields.append(("Access", chosen, ", ".join(key.scopes)))
        return [*differences(*fields), *entered.options.differences(key, visit.zone)]

    def expiries(self, key: ApiKey, visit: MemberVisit, policy: Policy) -> Sequence[Choice]:
        """Return the options for the expiry: keep it, shorten it, or extend it as far as the policy allows."""
        expiry = visit.timestamp(key.expires_at)
        hint = f"{expiry.relative}: {expiry.exact}" if expiry else "never expires"
        keep = Choice(KEEP, "Keep", hint, self.entered.expiry == KEEP)

        def allows(end: datetime | None) -> bool:
            is_extended = outlives(end, key.expires_at)
            return not is_extended or allows_end(policy, end, key.created_at)

        return [keep, *self.entered.expiries(visit.now(), visit.zone, allows)]

    def accesses(self, key: ApiKey, catalog: ScopeCatalog) -> Sequence[Choice]:
        """Return the options for the access, none wider than the present one."""
        choices = [Choice(KEEP, "Keep", "No change.")]
        if key.scopes.cover(catalog.read_only) and key.scopes != catalog.read_only:
            choices.append(_READ_ONLY)
        return _selected([*choices, _CUSTOM], self.entered.access)

    def grid(self, key: ApiKey, catalog: ScopeCatalog) -> Grid:
        """Return the grid, in which less than the key's present access can be chosen."""
        return grid_of(
            catalog,
            key.scopes,
            self.entered.scopes,
            reason="This key doesn't have {}.",
            presets={KEEP: key.scopes, "read-only": catalog.read_only},
            access=self.entered.access,
        )


def option_for(scopes: Scopes, catalog: ScopeCatalog) -> str:
    """Return the option for the access that stands for these scopes; empty if there are no scopes."""
    options = {FULL: "full", catalog.read_only: "read-only", Scopes(): ""}
    return options.get(scopes, "chosen")


def shown_at(now: datetime) -> str:
    """Return the hidden field of a form shown at `now`."""
    return format_instant(_whole(now))


def key_problems(error: Invalid) -> Mapping[str, str]:
    """Return the problem of each refused field by its name in the form."""
    labels = {
        "description": "Description",
        "expires_at": "Expiry",
        "scopes": "Access",
        "networks": "Networks",
        "metadata": "Metadata",
        "renewal": "Renewal",
        "stored_in": "Stored in",
    }
    problems = field_problems(error, labels, {"expires_at": "expiry", "scopes": "access"})
    if "description" in problems:
        problems["description"] = "Enter a description of up to 200 characters."
    return problems


def _whole(now: datetime) -> datetime:
    return now.replace(microsecond=0)


def _until(end: datetime, now: datetime, zone: tzinfo) -> str:
    return f"until {timestamp(end, now, zone).exact}"


def _collect(errors: list[FieldError], parse: Callable[[], T]) -> T | None:
    try:
        return parse()
    except Invalid as refused:
        errors += refused.errors
        return None


def _selected(choices: Sequence[Choice], value: str) -> Sequence[Choice]:
    return [Choice(c.value, c.text, c.hint, c.value == value) for c in choices]


def _chosen_text(choices: Sequence[Choice]) -> str:
    return next((choice.text for choice in choices if choice.chosen), "")
