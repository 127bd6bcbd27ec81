"""The index of documents' words: FTS5 on SQLite, a GIN index over tsvectors on PostgreSQL.

Terms come from `domain.search`: letters and digits only, so none is an operator in either engine. In the index each
term follows a mark, a part of its collection's id, and the number of its segment: neither the hits nor the cost of a
search depend on other collections, and the newest segments can be searched first.

On PostgreSQL the index is on a separate table without row-level security: `@@` is not leakproof, so under a policy the
planner could not use the index. A trigger on `documents` maintains that table.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, Text, column, table
from sqlalchemy.dialects.postgresql import TSVECTOR

from keystead.domain.documents import CollectionId
from keystead.domain.search import SEGMENT

Words = Text().with_variant(TSVECTOR, "postgresql")
"""A document's terms as stored: see `stored_words`."""

PENDING_KILOBYTES: Final = 64
"""The limit of the GIN index's pending list, which every lookup reads in full: the least that PostgreSQL allows."""

MARK_LENGTH: Final = 10
"""The mark of a collection is the end of its id in lower case: about 50 random bits.

A collision is harmless, since every search also names the workspace and the collection.
"""

document_words: Final = table("document_words", column("serial"), column("words"))
"""PostgreSQL only: the words of each document, by its serial number."""


# The numbers in the triggers are MARK_LENGTH and SEGMENT: changing either needs a revision that fills the index again.
_CREATE_ON_SQLITE: Final = (
    """
    CREATE VIEW document_words AS
    SELECT serial,
        replace(words, ' ', ' ' || lower(substr(collection_id, -10)) || (number / 2048)) AS words
    FROM documents
    """,
    """
    CREATE VIRTUAL TABLE document_search USING fts5(
        words, content='document_words', content_rowid='serial', tokenize='ascii', detail='none', columnsize=0
    )
    """,
    """
    CREATE TRIGGER documents_inserted AFTER INSERT ON documents BEGIN
        INSERT INTO document_search (rowid, words) VALUES (new.serial,
            replace(new.words, ' ', ' ' || lower(substr(new.collection_id, -10)) || (new.number / 2048)));
    END
    """,
    """
    CREATE TRIGGER documents_deleted AFTER DELETE ON documents BEGIN
        INSERT INTO document_search (document_search, rowid, words) VALUES ('delete', old.serial,
            replace(old.words, ' ', ' ' || lower(substr(old.collection_id, -10)) || (old.number / 2048)));
    END
    """,
    """
    CREATE TRIGGER documents_updated AFTER UPDATE OF words ON documents WHEN old.words <> new.words BEGIN
        INSERT INTO document_search (document_search, rowid, words) VALUES ('delete', old.serial,
            replace(old.words, ' ', ' ' || lower(substr(old.collection_id, -10)) || (old.number / 2048)));
        INSERT INTO document_search (rowid, words) VALUES (new.serial,
            replace(new.words, ' ', ' ' || lower(substr(new.collection_id, -10)) || (new.number / 2048)));
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
    is_sqlite = connection.dialect.name == "sqlite"
    for statement in _CREATE_ON_SQLITE if is_sqlite else _CREATE_ON_POSTGRESQL:
        connection.exec_driver_sql(statement)


def stored_words(
    connection: Connection, collection_id: CollectionId, number: int, terms: Iterable[str]
) -> str:
    """Return the value of the column `words`: the text of a tsvector, or each term after a space."""
    if connection.dialect.name == "sqlite":
        return " ".join(["", *terms])
    prefix = term_prefix(collection_id, number // SEGMENT)
    inner = f"' '{prefix}".join(terms)
    return f"'{prefix}{inner}'" if inner else ""


def term_prefix(collection_id: CollectionId, segment: int) -> str:
    """Return what stands before each term in the index: the collection's mark and the segment."""
    return f"{collection_id[-MARK_LENGTH:].lower()}{segment}"
