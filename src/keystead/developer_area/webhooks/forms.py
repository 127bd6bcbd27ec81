"""The form of a webhook: the user's entry, and the draft or patch it becomes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from keystead.developer_area.web.contexts import Choice, Difference, differences
from keystead.developer_area.web.forms import Form
from keystead.developer_area.web.labels import field_problems
from keystead.developer_area.webhooks.contexts import EventTypeChoice, EventTypeGroup
from keystead.developer_area.workspace.event_sentences import NOUNS, noun_of
from keystead.domain.errors import Invalid
from keystead.domain.event_samples import sample_event
from keystead.domain.events import Event, EventType, event_types
from keystead.domain.keys import UNSET, Unset
from keystead.domain.scopes import ScopeCatalog
from keystead.domain.webhooks import ALL_EVENTS, WebhookDraft, WebhookEndpoint, WebhookPatch
from keystead.wire.webhooks import payload

EVERYTHING: Final = "all"
CHOSEN: Final = "chosen"
_LABELS: Final = {"name": "Name", "url": "URL", "events": "Events", "headers": "A custom header"}


@dataclass(frozen=True, slots=True)
class WebhookEntry:
    """The unchecked input. `headers` are lines such as `Authorization: Bearer …`; `dropped` are names to remove."""

    name: str = ""
    url: str = ""
    range: str = ""
    types: frozenset[str] = frozenset()
    headers: str = ""
    dropped: frozenset[str] = frozenset()

    @classmethod
    def of_form(cls, form: Form) -> WebhookEntry:
        """Return the input of a submitted form."""
        return cls(
            form.one("name").strip(),
            form.one("url").strip(),
            form.one("range"),
            frozenset(form.many("type")),
            form.one("headers").strip(),
            frozenset(form.many("drop")),
        )

    @classmethod
    def of_webhook(cls, webhook: WebhookEndpoint) -> WebhookEntry:
        """Return a webhook's present values."""
        if ALL_EVENTS in webhook.events:
            return cls(webhook.name, webhook.url, EVERYTHING)
        return cls(webhook.name, webhook.url, CHOSEN, frozenset(webhook.events))

    def draft(self) -> WebhookDraft:
        """Return the new webhook. Invalid for malformed headers."""
        return WebhookDraft(self.name, self.url, self._events(), self._headers())

    def patch(self, webhook: WebhookEndpoint) -> WebhookPatch:
        """Return the change of `webhook`. A header stays unless it is dropped or entered again."""
        entered = self._headers()
        lower_names = {name.lower() for name in entered}
        unchanged: dict[str, str | Unset] = {
            name: UNSET
            for name in webhook.header_names
            if name not in self.dropped and name.lower() not in lower_names
        }
        headers = unchanged | dict(entered)
        return WebhookPatch(name=self.name, url=self.url, events=self._events(), headers=headers)

    def differences(self, webhook: WebhookEndpoint) -> Sequence[Difference]:
        """Return the input that differs from the webhook's present values."""
        return differences(
            ("Name", self.name, webhook.name),
            ("URL", self.url, webhook.url),
            ("Events", ", ".join(self._events()), ", ".join(sorted(webhook.events))),
        )

    def existing_headers(self, webhook: WebhookEndpoint) -> Sequence[Choice]:
        """Return the webhook's headers, each to be removed or not."""
        return [
            Choice(name, name, "", name in self.dropped) for name in sorted(webhook.header_names)
        ]

    def ranges(self) -> Sequence[Choice]:
        """Return the options for all or some events."""
        is_all, future = self.range == EVERYTHING, "including event types added later"
        return [
            Choice(EVERYTHING, "All events", future, is_all),
            Choice(CHOSEN, "Selected events", "", self.range == CHOSEN),
        ]

    def groups(self, catalog: ScopeCatalog) -> Sequence[EventTypeGroup]:
        """Return the event types by noun, each with its sample."""
        by_noun: dict[str, list[EventTypeChoice]] = {}
        for type in event_types(has_documents=catalog.has_documents):
            if type is not EventType.WEBHOOK_TEST:
                choice = EventTypeChoice(type, payload_text(sample_event(type)), type in self.types)
                by_noun.setdefault(NOUNS[noun_of(type)], []).append(choice)
        return [EventTypeGroup(name, choices) for name, choices in by_noun.items()]

    def _events(self) -> Sequence[str]:
        return [ALL_EVENTS] if self.range == EVERYTHING else sorted(self.types)

    def _headers(self) -> Mapping[str, str]:
        lines = [line.partition(":") for line in self.headers.splitlines() if line.strip()]
        if not all(colon for _, colon, _ in lines):
            raise Invalid.field(
                "/headers", "Enter each custom header on its own line as Name: value"
            )
        return {name.strip(): value.strip() for name, _, value in lines}


def payload_text(event: Event) -> str:
    """Return the payload of an event, with white space for people."""
    return json.dumps(json.loads(payload(event)), indent=2, ensure_ascii=False)


def webhook_problems(error: Invalid) -> dict[str, str]:
    """Return the problem of each refused field."""
    return field_problems(error, _LABELS)
