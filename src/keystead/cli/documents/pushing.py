"""Pushing documents in batches within the bounds of the contract; what is not pushed is told, one by one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from keystead.cli.documents.files import Ready
from keystead.cli.documents.found import Refused
from keystead.cli.outcome import Failure
from keystead.client import Client, DocumentDraft, Problem, PushReport, UnexpectedAnswer
from keystead.domain.documents import MAX_PUSH

BATCH_BYTES: Final = 4 * 1024 * 1024
"""Well within the 10 MiB of the contract: a batch is one transaction, and what is repeated after a failure."""

_PLACE: Final = re.compile(r"/upsert/(\d+)(?:/(.*))?")


@dataclass
class Tally:
    """What has become of the documents so far."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    refused: list[Refused] = field(default_factory=list)

    @property
    def pushed(self) -> int:
        """How many documents the server has answered for."""
        return self.created + self.updated + self.unchanged

    def add(self, report: PushReport) -> None:
        """Counts a batch."""
        self.created += report.created
        self.updated += report.updated
        self.unchanged += report.unchanged
        self.deleted += report.deleted


def unrepeated(
    documents: Iterable[Ready | Refused], seen: dict[str, str], refuse: Callable[[Refused], None]
) -> Iterator[Ready]:
    """The documents, each once: who comes with an id that another has is refused, as is what cannot be pushed."""
    for document in documents:
        if isinstance(document, Refused):
            refuse(document)
        elif document.id not in seen:
            seen[document.id] = document.source
            yield document
        elif (first := seen[document.id]) != document.source:
            refuse(Refused(document.source, f"has the id {document.id}, which is that of {first}"))


def batches(documents: Iterable[Ready]) -> Iterator[list[Ready]]:
    """The documents in batches of at most 1,000 and about 4 MiB."""
    batch: list[Ready] = []
    size = 0
    for document in documents:
        if batch and (len(batch) == MAX_PUSH or size + document.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(document)
        size += document.size + 1
    if batch:
        yield batch


@dataclass(frozen=True)
class Pusher:
    """Pushes batches into one collection, which it makes where it is missing and may be made."""

    client: Client
    collection: str
    create: bool
    tally: Tally
    refuse: Callable[[Refused], None]

    def push(self, batch: Sequence[Ready]) -> None:
        """Pushes a batch; what the server refuses of it is told one by one, and the rest pushed."""
        while batch:
            try:
                self.tally.add(self._send([one.draft for one in batch]))
                return
            except (Problem, UnexpectedAnswer) as error:
                if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and len(batch) > 1:
                    self._push_halves(batch)
                    return
                refused = _refused_places(error)
                if not refused:
                    raise
            for place, detail in refused.items():
                self.refuse(Refused(batch[place].source, detail))
            batch = [one for place, one in enumerate(batch) if place not in refused]

    def delete(self, ids: Sequence[str]) -> None:
        """Deletes documents."""
        for start in range(0, len(ids), MAX_PUSH):
            part = ids[start : start + MAX_PUSH]
            self.tally.add(self.client.documents.push(self.collection, (), part))

    def _push_halves(self, batch: Sequence[Ready]) -> None:
        """Where something on the way takes less at once than the contract says."""
        middle = len(batch) // 2
        self.push(batch[:middle])
        self.push(batch[middle:])

    def _send(self, drafts: Sequence[DocumentDraft]) -> PushReport:
        try:
            return self.client.documents.push(self.collection, drafts)
        except Problem as problem:
            if problem.code != "not-found":
                raise
        if not self.create:
            raise Failure(
                f"There is no collection {self.collection}; --create-collection makes it."
            )
        self._make_collection()
        return self.client.documents.push(self.collection, drafts)

    def _make_collection(self) -> None:
        try:
            self.client.collections.create(self.collection)
        except Problem as problem:
            if problem.code != "name-taken":
                raise


def _refused_places(error: Problem | UnexpectedAnswer) -> dict[int, str]:
    """Which entries of the batch were refused, and why; none where the error is not of single entries."""
    if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return {0: "is larger than the server takes"}
    if not isinstance(error, Problem) or error.code != "invalid":
        return {}
    places: dict[int, str] = {}
    for fault in error.errors:
        match = _PLACE.fullmatch(fault.pointer)
        if match is None:
            return {}
        place, said = int(match[1]), f"{match[2] or 'the document'} {fault.detail}"
        places[place] = f"{places[place]}; {said}" if place in places else said
    return places
