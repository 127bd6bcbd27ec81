"""Full-text search: FTS5 on SQLite, a GIN index over tsvectors on PostgreSQL.

Terms come from `domain.search`: letters and digits only, so none is an operator in either engine. In the
index each term is prefixed with a part of its collection's id, so neither the hits nor the cost of a search
depend on other collections.

On PostgreSQL the index is on a separate table without row-level security: `@@` is not leakproof, so under a
policy the planner could not use the index. A trigger on `documents` maintains that table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import (
    CompoundSelect,
    Connection,
    Select,
    Text,
    cast,
    column,
    literal,
    select,
    table,
    text,
    union_all,
)
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR

from keystead.domain.documents import CollectionId
from keystead.domain.search import Clause

Words = Text().with_variant(TSVECTOR, "postgresql")
"""A document's terms as stored: see `stored_words`."""

PENDING_KILOBYTES: Final = 1024
"""The limit of the GIN index's pending list, which every search reads in full."""

PREFIX_LENGTH: Final = 10
"""The prefix of a term is the end of the collection's id in lower case: about 50 random bits.

A collision is harmless, since every search also names the workspace and the collection.
"""

document_words: Final = table("document_words", column("serial"), column("words"))
"""PostgreSQL only: the words of each document, by its serial number."""

_INDEX = table("document_search", column("rowid"))
_CREATE_ON_SQLITE: Final = (
    """
    CREATE VIEW document_words AS
    SELECT serial, replace(words, ' ', ' ' || lower(substr(collection_id, -10))) AS words FROM documents
    """,
    """
    CREATE VIRTUAL TABLE document_search USING fts5(
        words, content='document_words', content_rowid='serial', tokenize='ascii', detail='none', columnsize=0
    )
    """,
    """
    CREATE TRIGGER documents_inserted AFTER INSERT ON documents BEGIN
        INSERT INTO document_search (rowid, words)
        VALUES (new.serial, replace(new.words, ' ', ' ' || lower(substr(new.collection_id, -10))));
    END
    """,
    """
    CREATE TRIGGER documents_deleted AFTER DELETE ON documents BEGIN
        INSERT INTO document_search (document_search, rowid, words)
        VALUES ('delete', old.serial, replace(old.words, ' ', ' ' || lower(substr(old.collection_id, -10))));
    END
    """,
    """
    CREATE TRIGGER documents_updated AFTER UPDATE OF words ON documents WHEN old.words <> new.words BEGIN
        INSERT INTO document_search (document_search, rowid, words)
        VALUES ('delete', old.serial, replace(old.words, ' ', ' ' || lower(substr(old.collection_id, -10))));
        INSERT INTO document_search (rowid, words)
        VALUES (new.serial, replace(new.words, ' ', ' ' || lower(substr(new.collection_id, -10))));
    END
    """,
)
_CREATE_ON_POSTGRESQL: Final = (
    """
    CREATE TABLE document_words (
        serial BIGINT NOT NULL,
        words TSVECTOR NOT NULL,
        CONSTRAINT document_words_pk PRIMARY KEY (serial),
        CONSTRAINT document_words_serial_fk FOREIGN KEY (serial) REFERENCES documents (serial) ON DELETE CASCADE
    )
    """,
    f"""
    CREATE INDEX document_words_by_word ON document_words USING gin (words)
    WITH (gin_pending_list_limit = {PENDING_KILOBYTES})
    """,
    """
    CREATE FUNCTION keep_document_words() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO document_words (serial, words) VALUES (new.serial, new.words)
        ON CONFLICT (serial) DO UPDATE SET words = excluded.words;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER documents_words AFTER INSERT OR UPDATE OF words ON documents
    FOR EACH ROW EXECUTE FUNCTION keep_document_words()
    """,
)


def create_search(_: object, connection: Connection, **__: Any) -> None:
    """Create the index over the words of documents and its triggers, after the table of documents.

    SQLite's `ascii` tokenizer separates words at ASCII characters other than letters and digits only. With
    `detail=none` and external `content`, its index stores neither positions nor text, just row numbers.
    """
    for statement in _CREATE_ON_SQLITE if _is_sqlite(connection) else _CREATE_ON_POSTGRESQL:
        connection.exec_driver_sql(statement)


def stored_words(connection: Connection, collection_id: CollectionId, terms: Iterable[str]) -> str:
    """Return the value of the column `words`: the text of a tsvector, or each term after a space."""
    if _is_sqlite(connection):
        return "".join(f" {term}" for term in terms)
    prefix = _prefix(collection_id)
    return " ".join(f"'{prefix}{term}'" for term in terms)


def matches(
    connection: Connection, collection_id: CollectionId, clauses: Sequence[Clause]
) -> CompoundSelect[Any]:
    """Select `serial` and `points` of the documents that match, once per matching clause."""
    find = _find_on_sqlite if _is_sqlite(connection) else _find_on_postgresql
    prefix = _prefix(collection_id)
    return union_all(*(find(prefix, clause) for clause in clauses))


def forbid_sequential_scans(connection: Connection) -> None:
    """Make searches in this transaction use the index."""
    # PostgreSQL underestimates a sequential scan: it ignores the cost of reading the tsvectors.
    if not _is_sqlite(connection):
        connection.execute(text("SET LOCAL enable_seqscan = off"))


def _find_on_sqlite(prefix: str, clause: Clause) -> Select[Any]:
    query = " AND ".join(f'"{prefix}{term.text}"{"*" * term.prefix}' for term in clause.terms)
    hits = select(_INDEX.c.rowid.label("serial"), literal(clause.points).label("points"))
    return hits.where(column("document_search").op("MATCH")(query))


def _find_on_postgresql(prefix: str, clause: Clause) -> Select[Any]:
    query = " & ".join(f"'{prefix}{term.text}'{':*' * term.prefix}" for term in clause.terms)
    hits = select(document_words.c.serial, literal(clause.points).label("points"))
    return hits.where(document_words.c.words.op("@@")(cast(query, TSQUERY)))


def _prefix(collection_id: CollectionId) -> str:
    return collection_id[-PREFIX_LENGTH:].lower()


def _is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"
