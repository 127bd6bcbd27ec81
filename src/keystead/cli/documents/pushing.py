"""Pushing documents in batches; refused documents are reported one by one."""

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
"""The largest batch, well below the API's 10 MiB: it is one transaction, and repeated after a failure."""

_ENTRY: Final = re.compile(r"/upsert/(\d+)(?:/(.*))?")


@dataclass
class Tally:
    """The results of a push so far."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    refused: list[Refused] = field(default_factory=list)

    @property
    def pushed(self) -> int:
        """The number of documents that the server has accepted."""
        return self.created + self.updated + self.unchanged

    def add(self, report: PushReport) -> None:
        """Add the report of a batch."""
        self.created += report.created
        self.updated += report.updated
        self.unchanged += report.unchanged
        self.deleted += report.deleted


def unrepeated(
    documents: Iterable[Ready | Refused], seen: dict[str, str], refuse: Callable[[Refused], None]
) -> Iterator[Ready]:
    """Yield the documents, refusing repeated ids and documents that can't be pushed."""
    for document in documents:
        if isinstance(document, Refused):
            refuse(document)
        elif document.id not in seen:
            seen[document.id] = document.source
            yield document
        elif (first := seen[document.id]) != document.source:
            refuse(Refused(document.source, f"has the id {document.id}, like {first}"))


def batches(documents: Iterable[Ready]) -> Iterator[list[Ready]]:
    """Yield the documents in batches of at most 1,000 and about 4 MiB."""
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
    """Pushes batches into a collection, and creates it if allowed."""

    client: Client
    collection: str
    create: bool
    tally: Tally
    refuse: Callable[[Refused], None]

    def push(self, batch: Sequence[Ready]) -> None:
        """Push a batch without the documents that the server refuses, which are reported one by one."""
        while batch:
            try:
                self.tally.add(self._send([document.draft for document in batch]))
                return
            except (Problem, UnexpectedAnswer) as error:
                if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and len(batch) > 1:
                    self._push_halves(batch)
                    return
                refused = _refused_entries(error)
                if not refused:
                    raise
            for index, detail in refused.items():
                self.refuse(Refused(batch[index].source, detail))
            batch = [document for index, document in enumerate(batch) if index not in refused]

    def delete(self, ids: Sequence[str]) -> None:
        """Delete documents."""
        for start in range(0, len(ids), MAX_PUSH):
            part = ids[start : start + MAX_PUSH]
            self.tally.add(self.client.documents.push(self.collection, (), part))

    def _push_halves(self, batch: Sequence[Ready]) -> None:
        """Push two halves, because a proxy accepts less than the server would."""
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
                f"There is no collection {self.collection}. Use --create-collection to create it."
            )
        self._create_collection()
        return self.client.documents.push(self.collection, drafts)

    def _create_collection(self) -> None:
        try:
            self.client.collections.create(self.collection)
        except Problem as problem:
            if problem.code != "name-taken":
                raise


def _refused_entries(error: Problem | UnexpectedAnswer) -> dict[int, str]:
    """Return the refused entries of the batch with the reasons; empty if the error is about the whole batch."""
    if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return {0: "is larger than the server accepts"}
    if not isinstance(error, Problem) or error.code != "invalid":
        return {}
    entries: dict[int, str] = {}
    for fault in error.errors:
        match = _ENTRY.fullmatch(fault.pointer)
        if match is None:
            return {}
        index, detail = int(match[1]), f"{match[2] or 'the document'} {fault.detail}"
        entries[index] = f"{entries[index]}; {detail}" if index in entries else detail
    return entries
