"""The form of a webhook on its way in and out: what was typed, as a draft or a patch, and refusals as sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from keystead.developer_area.web.contexts import Choice, Difference, differences
from keystead.developer_area.web.forms import Form
from keystead.developer_area.workspace.contexts import Group
from keystead.developer_area.workspace.event_sentences import NOUNS, noun_of
from keystead.domain.errors import FieldError, Invalid
from keystead.domain.events import EventType
from keystead.domain.keys import UNSET, Unset
from keystead.domain.webhooks import ALL_EVENTS, WebhookDraft, WebhookEndpoint, WebhookPatch

EVERYTHING: Final = "all"
CHOSEN: Final = "chosen"
_FIELDS: Final = {
    "name": "The name",
    "url": "The URL",
    "events": "The choice of events",
    "headers": "A header",
}


@dataclass(frozen=True, slots=True)
class WebhookEntry:
    """What stands in the form. `headers` are lines such as `Authorization: Bearer …`; `dropped` the names to go."""

    name: str = ""
    url: str = ""
    range: str = ""
    types: frozenset[str] = frozenset()
    headers: str = ""
    dropped: frozenset[str] = frozenset()

    @classmethod
    def of(cls, form: Form) -> WebhookEntry:
        """What was sent."""
        return cls(
            form.one("name").strip(),
            form.one("url").strip(),
            form.one("range"),
            frozenset(form.many("type")),
            form.one("headers").strip(),
            frozenset(form.many("drop")),
        )

    @classmethod
    def about(cls, endpoint: WebhookEndpoint) -> WebhookEntry:
        """What stands there when a webhook is to be changed."""
        everything = ALL_EVENTS in endpoint.events
        types = frozenset() if everything else frozenset(endpoint.events)
        return cls(endpoint.name, endpoint.url, EVERYTHING if everything else CHOSEN, types)

    def draft(self) -> WebhookDraft:
        """As a new webhook. Invalid for lines that are no headers."""
        return WebhookDraft(self.name, self.url, self._events(), self._headers())

    def patch(self, endpoint: WebhookEndpoint) -> WebhookPatch:
        """As a change of that webhook. Headers stay that are neither dropped nor written anew."""
        written = self._headers()
        anew = {name.lower() for name in written}
        kept: dict[str, str | Unset] = {
            name: UNSET
            for name in endpoint.header_names
            if name not in self.dropped and name.lower() not in anew
        }
        return WebhookPatch(
            name=self.name, url=self.url, events=self._events(), headers=kept | dict(written)
        )

    def differences(self, endpoint: WebhookEndpoint) -> Sequence[Difference]:
        """Return what was entered beside what the webhook has now."""
        return differences(
            ("Name", self.name, endpoint.name),
            ("URL", self.url, endpoint.url),
            ("Events", ", ".join(self._events()), ", ".join(sorted(endpoint.events))),
        )

    def kept(self, endpoint: WebhookEndpoint) -> Sequence[Choice]:
        """The headers that are there, each to be dropped or not."""
        return [
            Choice(name, name, "", name in self.dropped) for name in sorted(endpoint.header_names)
        ]

    def ranges(self) -> Sequence[Choice]:
        """Everything, or some."""
        return [
            Choice(
                EVERYTHING, "Everything", "types that come later included", self.range == EVERYTHING
            ),
            Choice(CHOSEN, "Some types of event", "", self.range == CHOSEN),
        ]

    def groups(self) -> Sequence[Group]:
        """The types of events, by noun."""
        by_noun: dict[str, list[Choice]] = {}
        for type in EventType:
            if type is not EventType.WEBHOOK_TEST:
                choice = Choice(type, type, "", type in self.types)
                by_noun.setdefault(NOUNS[noun_of(type)], []).append(choice)
        return [Group(name, choices) for name, choices in by_noun.items()]

    def _events(self) -> Sequence[str]:
        return [ALL_EVENTS] if self.range == EVERYTHING else sorted(self.types)

    def _headers(self) -> Mapping[str, str]:
        lines = [line.partition(":") for line in self.headers.splitlines() if line.strip()]
        if not all(colon for _, colon, _ in lines):
            raise Invalid([FieldError("/headers", "stands on a line of its own, as Name: value")])
        return {name.strip(): value.strip() for name, _, value in lines}


def problems_of(refused: Invalid) -> dict[str, str]:
    """A sentence for each refused field."""
    problems: dict[str, str] = {}
    for error in refused.errors:
        name = error.pointer.split("/")[1]
        problems.setdefault(name, f"{_FIELDS.get(name, 'This')} {error.detail}.")
    return problems
