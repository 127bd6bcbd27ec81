"""The optional members of a key in its forms, as people type them: networks, metadata, renewal, and its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from keystead.developer_area.web.contexts import Difference, differences
from keystead.developer_area.web.forms import Form
from keystead.domain.errors import FieldError, Invalid
from keystead.domain.key_metadata import Metadata, check_metadata
from keystead.domain.keys import UNSET, ApiKey, Unset, check_place
from keystead.domain.networks import parse_networks
from keystead.domain.renewals import Renewal
from keystead.domain.time_zones import end_of_day

_UNTIL: Final = "/renewal/until"


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """The unchecked input: a block or a `name=value` on each line. None: the form has no such field.

    `renewal_on` is the last day of the renewal; empty is without end. `stored_in` says where the token is stored.
    """

    networks: str | None = None
    metadata: str | None = None
    renews: bool | None = None
    renewal_on: str = ""
    stored_in: str | None = None

    @classmethod
    def of_form(cls, form: Form) -> KeyOptions:
        """Return the input of a submitted form."""
        # A box that isn't checked sends nothing, so a hidden field before it says that the form has it.
        boxes = form.many("renewal")
        return cls(
            networks=form.one("networks") if "networks" in form.fields else None,
            metadata=form.one("metadata") if "metadata" in form.fields else None,
            renews="on" in boxes if boxes else None,
            renewal_on=form.one("renewal_on"),
            stored_in=form.one("stored_in") if "stored_in" in form.fields else None,
        )

    @classmethod
    def of_key(cls, key: ApiKey, zone: tzinfo) -> KeyOptions:
        """Return the key's members as a form shows them."""
        until = key.renewal and key.renewal.until
        return cls(
            networks="\n".join(key.networks),
            metadata="\n".join(f"{name}={value}" for name, value in key.metadata.items()),
            renews=key.renewal is not None,
            renewal_on=until.astimezone(zone).date().isoformat() if until else "",
            stored_in=key.stored_in,
        )

    @property
    def is_empty(self) -> bool:
        """Return whether nothing was entered."""
        return not (self.networks or self.metadata or self.renews or self.stored_in)

    def networks_for(self) -> Sequence[str] | Unset:
        """Return the networks. Invalid names the line of a malformed one."""
        if self.networks is None:
            return UNSET
        blocks = _lines(self.networks)
        try:
            parse_networks(blocks.values())
        except Invalid as refused:
            raise Invalid(_by_line(refused, list(blocks))) from None
        return list(blocks.values())

    def metadata_for(self) -> Metadata | Unset:
        """Return the metadata. Invalid names the line that is not `name=value`, or repeats a name."""
        if self.metadata is None:
            return UNSET
        metadata: dict[str, str] = {}
        for number, line in _lines(self.metadata).items():
            name, equals, value = line.partition("=")
            if not equals or name.strip() in metadata:
                problem = "repeats a name" if equals else "must be a name, =, and a value"
                raise Invalid.field("/metadata", f"Line {number} {problem}")
            metadata[name.strip()] = value.strip()
        return check_metadata(metadata)

    def metadata_changes(self, key: ApiKey) -> Mapping[str, str | None] | Unset:
        """Return the changes that leave exactly the metadata of the form."""
        metadata = self.metadata_for()
        return (
            metadata if isinstance(metadata, Unset) else {**dict.fromkeys(key.metadata), **metadata}
        )

    def place_for(self) -> str:
        """Return where the token is stored, empty if nothing was entered. Invalid for more than one line."""
        return check_place((self.stored_in or "").strip())

    def renewal_for(self, zone: tzinfo, key: ApiKey | None = None) -> Renewal | None | Unset:
        """Return the renewal. A day that `key` already has leaves its exact end unchanged."""
        shown = None if key is None else KeyOptions.of_key(key, zone)
        is_kept = shown and (self.renews, self.renewal_on) == (shown.renews, shown.renewal_on)
        if self.renews is None or is_kept:
            return UNSET
        if not self.renews:
            return None
        if not self.renewal_on:
            return Renewal()
        try:
            return Renewal(end_of_day(self.renewal_on, zone))
        except ValueError:
            raise Invalid.field(_UNTIL, "must be a valid date") from None

    def differences(self, key: ApiKey, zone: tzinfo) -> Sequence[Difference]:
        """Return the input that differs from the key's present members."""
        now = KeyOptions.of_key(key, zone)
        texts = [
            ("Networks", self.networks, now.networks),
            ("Metadata", self.metadata, now.metadata),
            ("Stored in", self.stored_in, now.stored_in),
        ]
        fields = [
            (name, ", ".join(_lines(mine).values()), ", ".join(_lines(theirs or "").values()))
            for name, mine, theirs in texts
            if mine is not None
        ]
        if self.renews is not None:
            fields.append(("Renewal", _renewal_text(self), _renewal_text(now)))
        return differences(*fields)


NO_OPTIONS: Final = KeyOptions()
"""Those of a form without the fields."""


def _lines(text: str) -> dict[int, str]:
    """Return the lines that aren't empty, by their numbers."""
    lines = enumerate(map(str.strip, text.splitlines()), start=1)
    return {number: line for number, line in lines if line}


def _by_line(refused: Invalid, numbers: Sequence[int]) -> list[FieldError]:
    """Return the errors with the number of a line instead of a place."""
    places = [(each.pointer.rpartition("/")[2], each.detail) for each in refused.errors]
    return [
        FieldError(
            "/networks", f"Line {numbers[int(place)]} {detail}" if place.isdecimal() else detail
        )
        for place, detail in places
    ]


def _renewal_text(options: KeyOptions) -> str:
    if not options.renews:
        return "no"
    return f"until {options.renewal_on}" if options.renewal_on else "without end"
