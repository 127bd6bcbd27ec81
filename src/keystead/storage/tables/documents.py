"""Documents. Every statement names the workspace and the collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, func, insert, select, update
from sqlalchemy import delete as delete_from

from keystead.domain.documents import (
    Collection,
    CollectionId,
    Document,
    DocumentSummary,
    Incoming,
)
from keystead.domain.ids import WorkspaceId
from keystead.domain.search import Clause
from keystead.domain.versions import first_version
from keystead.storage.database import Tx
from keystead.storage.schema import search
from keystead.storage.schema.tables import documents

_SUMMARY = (
    documents.c.id,
    documents.c.number,
    documents.c.title,
    documents.c.url,
    documents.c.attributes,
    documents.c.created_at,
    documents.c.updated_at,
    documents.c.version,
)

Terms = Mapping[str, Sequence[str]]
"""The index terms of each document, by its id."""


def find_document(tx: Tx, collection: Collection, id: str) -> Document | None:
    """Return the collection's document of that id."""
    query = select(*_SUMMARY, documents.c.text).where(*_within(collection), documents.c.id == id)
    row = tx.execute(query).first()
    return None if row is None else Document(*row)


def find_version(tx: Tx, collection: Collection, id: str) -> int | None:
    """Return the version of the collection's document of that id, None without one."""
    query = select(documents.c.version).where(*_within(collection), documents.c.id == id)
    version: int | None = tx.execute(query).scalar()
    return version


def digests_of(tx: Tx, collection: Collection, ids: Iterable[str]) -> dict[str, bytes]:
    """Return the digests of the documents that exist, by id."""
    query = select(documents.c.id, documents.c.digest)
    rows = tx.execute(query.where(*_within(collection), documents.c.id.in_(list(ids))))
    return {row.id: row.digest for row in rows}


def page_of_documents(
    tx: Tx, collection: Collection, *, limit: int, before: int | None = None
) -> list[DocumentSummary]:
    """Return at most `limit` documents, newest first, with a number below `before`."""
    page = select(*_SUMMARY).where(*_within(collection))
    if before is not None:
        page = page.where(documents.c.number < before)
    rows = tx.execute(page.order_by(documents.c.number.desc()).limit(limit))
    return [DocumentSummary(*row) for row in rows]


def search_documents(
    tx: Tx, collection: Collection, clauses: Sequence[Clause], limit: int
) -> list[DocumentSummary]:
    """Return the best `limit` matches: by points, then newest first."""
    search.forbid_sequential_scans(tx)
    hits = search.matches(tx, collection.id, clauses).subquery()
    points = func.sum(hits.c.points).label("points")
    best = select(hits.c.serial, points).group_by(hits.c.serial)
    best = best.order_by(points.desc(), hits.c.serial.desc()).limit(limit)
    ranked = best.subquery()
    query = select(*_SUMMARY).join(ranked, ranked.c.serial == documents.c.serial)
    query = query.where(*_within(collection))
    rows = tx.execute(query.order_by(ranked.c.points.desc(), documents.c.number.desc()))
    return [DocumentSummary(*row) for row in rows]


def insert_documents(
    tx: Tx,
    collection: Collection,
    created: Sequence[Incoming],
    terms: Terms,
    first_number: int,
    now: datetime,
) -> None:
    """Insert documents under consecutive numbers from `first_number` on."""
    common = {
        "workspace_id": collection.workspace_id,
        "collection_id": collection.id,
        "created_at": now,
        "version": first_version(now),
    }
    rows = [
        {
            **common,
            "id": incoming.draft.id,
            "number": number,
            **_content(tx, collection, incoming, terms, now),
        }
        for number, incoming in enumerate(created, first_number)
    ]
    if rows:
        tx.execute(insert(documents), rows)


def update_documents(
    tx: Tx, collection: Collection, updated: Sequence[Incoming], terms: Terms, now: datetime
) -> None:
    """Replace the content of documents, and raise their versions."""
    rows = [
        {"replaced": incoming.draft.id, **_content(tx, collection, incoming, terms, now)}
        for incoming in updated
    ]
    if rows:
        replaced = update(documents).where(
            *_within(collection), documents.c.id == bindparam("replaced")
        )
        tx.execute(replaced.values(version=documents.c.version + 1), rows)


def delete_documents(tx: Tx, collection: Collection, ids: Iterable[str]) -> None:
    """Delete the documents of those ids."""
    doomed = documents.c.id.in_(list(ids))
    tx.execute(delete_from(documents).where(*_within(collection), doomed))


def delete_some_documents(
    tx: Tx, workspace_id: WorkspaceId, collection_id: CollectionId, limit: int
) -> int:
    """Delete at most `limit` documents of a collection, in any order. Returns how many."""
    within = (
        documents.c.workspace_id == workspace_id,
        documents.c.collection_id == collection_id,
    )
    batch = select(documents.c.serial).where(*within).limit(limit)
    return tx.execute(delete_from(documents).where(documents.c.serial.in_(batch))).rowcount


def _content(
    tx: Tx, collection: Collection, incoming: Incoming, terms: Terms, now: datetime
) -> dict[str, Any]:
    draft = incoming.draft
    return {
        "title": draft.title,
        "url": draft.url,
        "attributes": draft.attributes,
        "digest": incoming.digest,
        "updated_at": now,
        "text": draft.text,
        "words": search.stored_words(tx, collection.id, terms[draft.id]),
    }


def _within(collection: Collection) -> tuple[ColumnElement[bool], ...]:
    return (
        documents.c.workspace_id == collection.workspace_id,
        documents.c.collection_id == collection.id,
    )
