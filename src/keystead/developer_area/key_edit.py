"""The form that changes a key: what was entered, what is asked with it, and how it is shown again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from keystead.developer_area.keys.forms import KEEP, KeyEntry
from keystead.developer_area.web.contexts import Choice, Difference, differences
from keystead.developer_area.web.forms import Form
from keystead.developer_area.web.times import moment
from keystead.domain.keys import ApiKey, KeyPatch
from keystead.domain.scopes import EVERYTHING, READ_ONLY, ScopeCatalog, Scopes


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
