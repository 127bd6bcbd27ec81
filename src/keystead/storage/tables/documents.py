"""Documents. Every statement names the workspace and the collection."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Text,
    and_,
    any_,
    bindparam,
    cast,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy import delete as delete_from
from sqlalchemy.dialects import postgresql, sqlite

from keystead.domain import search as rules
from keystead.domain.documents import (
    Collection,
    CollectionId,
    Document,
    DocumentSummary,
    Incoming,
    Stored,
)
from keystead.domain.ids import WorkspaceId
from keystead.domain.instants import to_microseconds
from keystead.domain.versions import first_version
from keystead.storage import queries
from keystead.storage.database import Tx
from keystead.storage.queries import Query
from keystead.storage.schema.columns import ABOVE_EVERY_NUMBER, LIMIT, Json
from keystead.storage.schema.search import stored_words
from keystead.storage.schema.tables import collections, documents

Terms = Mapping[str, Sequence[str]]
"""The index terms of each document, by its id."""


class Among(NamedTuple):
    """A condition that a column has one of many values, for each engine: one parameter, however many there are."""

    on_sqlite: ColumnElement[bool]
    on_postgresql: ColumnElement[bool]

    @classmethod
    def of(cls, column: ColumnElement[Any], kind: Any) -> Among:
        """Return the condition; the parameter `among` is that of `many`."""
        value = func.json_each(bindparam("among")).table_valued("value").c.value
        array = cast(bindparam("among"), ARRAY(kind))
        return cls(column.in_(select(value)), column == any_(array))


class Bulk(NamedTuple):
    """A statement for many rows, compiled for one engine, whose driver gets the values as they are stored.

    SQLAlchemy would convert every value of every row on its own, which takes as long as SQLite takes to insert them.
    """

    sql: str
    in_order: Callable[[Mapping[str, Any]], tuple[Any, ...]]

    @classmethod
    def both(cls, statement: Any, names: Sequence[str]) -> tuple[Bulk, Bulk]:
        """Return the statement for SQLite and for PostgreSQL; `names` are its parameters."""
        on_postgresql: Any = postgresql.dialect
        dialects = sqlite.dialect(paramstyle="qmark"), on_postgresql(paramstyle="format")
        compiled = [statement.compile(dialect=dialect, column_keys=names) for dialect in dialects]
        first, second = (cls(str(each), itemgetter(*each.positiontup)) for each in compiled)
        return first, second

    def execute(self, tx: Tx, rows: Iterable[Mapping[str, Any]]) -> None:
        """Execute it for each row, a mapping of its parameters."""
        values = list(map(self.in_order, rows))
        if len(values) == 1:
            queries.execute(tx, self.sql, values[0])
        elif values:
            tx.exec_driver_sql(self.sql, values)


_to_json = Json().process_bind_param


def _many(tx: Tx, values: Iterable[object]) -> object:
    values = list(values)
    return json.dumps(values) if _is_sqlite(tx) else values


_SUMMARY: Final = (
    documents.c.id,
    documents.c.number,
    documents.c.title,
    documents.c.url,
    documents.c.attributes,
    documents.c.created_at,
    documents.c.updated_at,
    documents.c.version,
)
_WITHIN: Final = and_(
    documents.c.workspace_id == bindparam("in_workspace"),
    documents.c.collection_id == bindparam("in_collection"),
)
_ONE: Final = and_(_WITHIN, documents.c.id == bindparam("document_id"))
_WITHIN_NAMED: Final = and_(
    documents.c.workspace_id == bindparam("in_workspace"),
    documents.c.collection_id
    == select(collections.c.id)
    .where(
        collections.c.workspace_id == bindparam("in_workspace"),
        collections.c.name == bindparam("name"),
    )
    .scalar_subquery(),
)
_READ: Final = Query(
    select(*_SUMMARY, documents.c.text).where(
        _WITHIN_NAMED, documents.c.id == bindparam("document_id")
    )
)
_FIND: Final = Query(select(*_SUMMARY, documents.c.text).where(_ONE))
_FIND_VERSION: Final = Query(select(documents.c.version).where(_ONE))
_STORED: Final = tuple(
    Query(
        select(
            documents.c.id,
            documents.c.digest,
            documents.c.number,
            documents.c.created_at,
            documents.c.version,
        ).where(_WITHIN, condition)
    )
    for condition in Among.of(documents.c.id, Text)
)
_PAGE: Final = Query(
    select(*_SUMMARY)
    .where(_WITHIN_NAMED, documents.c.number < bindparam("before"))
    .order_by(documents.c.number.desc())
    .limit(LIMIT)
)
_WHOLE_PAGE: Final = Query(
    select(*_SUMMARY, documents.c.text)
    .where(_WITHIN_NAMED, documents.c.number < bindparam("before"))
    .order_by(documents.c.number.desc())
    .limit(LIMIT)
)
_FOUND: Final = tuple(
    Query(
        select(*_SUMMARY, func.substr(documents.c.text, 1, rules.SNIPPET_SOURCE + 1)).where(
            _WITHIN, condition
        )
    )
    for condition in Among.of(documents.c.number, BigInteger)
)
_CONTENT: Final = ("title", "url", "attributes", "digest", "updated_at", "text", "words")
_INSERT: Final = Bulk.both(
    insert(documents).inline(),
    ("workspace_id", "collection_id", "number", "id", "created_at", "version", *_CONTENT),
)
_UPDATE: Final = Bulk.both(
    update(documents).where(_ONE).values(version=text("version + 1")),
    _CONTENT,
)
_DELETE: Final = tuple(
    delete_from(documents).where(_WITHIN, condition) for condition in Among.of(documents.c.id, Text)
)
_DELETE_SOME: Final = delete_from(documents).where(
    documents.c.serial.in_(select(documents.c.serial).where(_WITHIN).limit(bindparam("limit")))
)


def read_document(tx: Tx, workspace_id: WorkspaceId, name: str, id: str) -> Document | None:
    """Return the document of that id in the workspace's collection of that name."""
    values = {"in_workspace": workspace_id, "name": name, "document_id": id}
    row = _READ.first(tx, values)
    return None if row is None else Document(*row)


def find_document(tx: Tx, collection: Collection, id: str) -> Document | None:
    """Return the collection's document of that id."""
    row = _FIND.first(tx, _within(collection) | {"document_id": id})
    return None if row is None else Document(*row)


def find_version(tx: Tx, collection: Collection, id: str) -> int | None:
    """Return the version of the collection's document of that id, None without one."""
    version: int | None = _FIND_VERSION.scalar(tx, _within(collection) | {"document_id": id})
    return version


def stored_documents(tx: Tx, collection: Collection, ids: Iterable[str]) -> dict[str, Stored]:
    """Return what the documents that exist are compared by, by id."""
    statement = _STORED[not _is_sqlite(tx)]
    rows = statement.all(tx, _within(collection) | {"among": _many(tx, ids)})
    return {row[0]: Stored(*row[1:]) for row in rows}


def page_of_documents(
    tx: Tx, workspace_id: WorkspaceId, name: str, *, limit: int, before: int | None = None
) -> list[DocumentSummary]:
    """Return at most `limit` documents of the collection of that name, newest first, with a number below `before`."""
    values = {
        "in_workspace": workspace_id,
        "name": name,
        "limit": limit,
        "before": ABOVE_EVERY_NUMBER if before is None else before,
    }
    return [DocumentSummary(*row) for row in _PAGE.all(tx, values)]


def page_of_whole_documents(
    tx: Tx, workspace_id: WorkspaceId, name: str, *, limit: int, before: int | None = None
) -> list[Document]:
    """Return documents like `page_of_documents`, with their texts."""
    values = {
        "in_workspace": workspace_id,
        "name": name,
        "limit": limit,
        "before": ABOVE_EVERY_NUMBER if before is None else before,
    }
    return [Document(*row) for row in _WHOLE_PAGE.all(tx, values)]


def found_documents(tx: Tx, collection: Collection, numbers: Sequence[int]) -> list[Document]:
    """Return the documents of those numbers, in that order, with as much of their texts as snippets need."""
    if not numbers:
        return []
    statement = _FOUND[not _is_sqlite(tx)]
    rows = statement.all(tx, _within(collection) | {"among": _many(tx, numbers)})
    by_number = {row[1]: Document(*row) for row in rows}
    return [by_number[number] for number in numbers]


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
        "created_at": to_microseconds(now),
        "version": first_version(now),
    }
    rows = (
        {
            **common,
            "id": incoming.draft.id,
            "number": number,
            **_content(tx, collection, incoming, number, terms, now),
        }
        for number, incoming in enumerate(created, first_number)
    )
    _INSERT[not _is_sqlite(tx)].execute(tx, rows)


def update_documents(
    tx: Tx,
    collection: Collection,
    updated: Mapping[int, Incoming],
    terms: Terms,
    now: datetime,
) -> None:
    """Replace the content of documents, given by their numbers, and raise their versions."""
    within = _within(collection)
    rows = (
        {
            **within,
            "document_id": incoming.draft.id,
            **_content(tx, collection, incoming, number, terms, now),
        }
        for number, incoming in updated.items()
    )
    _UPDATE[not _is_sqlite(tx)].execute(tx, rows)


def delete_documents(tx: Tx, collection: Collection, ids: Sequence[str]) -> None:
    """Delete the documents of those ids."""
    if ids:
        statement = _DELETE[not _is_sqlite(tx)]
        tx.execute(statement, _within(collection) | {"among": _many(tx, ids)})


def delete_some_documents(
    tx: Tx, workspace_id: WorkspaceId, collection_id: CollectionId, limit: int
) -> int:
    """Delete at most `limit` documents of a collection, in any order. Returns how many."""
    values = {"in_workspace": workspace_id, "in_collection": collection_id, "limit": limit}
    return tx.execute(_DELETE_SOME, values).rowcount


def _content(
    tx: Tx, collection: Collection, incoming: Incoming, number: int, terms: Terms, now: datetime
) -> dict[str, Any]:
    draft = incoming.draft
    return {
        "title": draft.title,
        "url": draft.url,
        "attributes": _to_json(draft.attributes, tx.dialect) if draft.attributes else "{}",
        "digest": incoming.digest,
        "updated_at": to_microseconds(now),
        "text": draft.text,
        "words": stored_words(tx, collection.id, number, terms[draft.id]),
    }


def _within(collection: Collection) -> dict[str, Any]:
    return {"in_workspace": collection.workspace_id, "in_collection": collection.id}


def _is_sqlite(tx: Tx) -> bool:
    return tx.dialect.name == "sqlite"
