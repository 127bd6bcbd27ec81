"""Index the words of documents by segment, with whole words and words found by their beginning as the only classes.

It computes the words of all documents again, in batches of bounded memory but one transaction: an interrupted migration
leaves the index as it was, and starts over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alembic import op
from sqlalchemy import Connection, Row, text

from keystead.domain.search import index_terms

revision = "0002"
down_revision = "0001"

BATCH = 100
SEGMENT = 2_048
NEXT = text(
    "SELECT serial, collection_id, number, title, text FROM documents"
    " WHERE serial > :after ORDER BY serial LIMIT :batch"
)

BEFORE_ON_SQLITE = (
    "DROP TRIGGER documents_inserted",
    "DROP TRIGGER documents_deleted",
    "DROP TRIGGER documents_updated",
    "DROP TABLE document_search",
    "DROP VIEW document_words",
)
SET_ON_SQLITE = text("UPDATE documents SET words = :words WHERE serial = :document")
AFTER_ON_SQLITE = (
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
    "INSERT INTO document_search (document_search) VALUES ('rebuild')",
)

SET_ON_POSTGRESQL = text(
    "UPDATE documents SET words = CAST(:words AS tsvector) WHERE serial = :document"
)
# The index stays while its rows change: creating it again would lock out searches until the end.
AFTER_ON_POSTGRESQL = ("ALTER INDEX document_words_by_word SET (gin_pending_list_limit = 64)",)


def upgrade() -> None:
    connection = op.get_bind()
    is_sqlite = connection.dialect.name == "sqlite"
    for statement in BEFORE_ON_SQLITE if is_sqlite else ():
        op.execute(statement)
    for batch in _batches(connection):
        words = _words_on_sqlite if is_sqlite else _words_on_postgresql
        values = [{"document": row.serial, "words": words(row)} for row in batch]
        connection.execute(SET_ON_SQLITE if is_sqlite else SET_ON_POSTGRESQL, values)
    for statement in AFTER_ON_SQLITE if is_sqlite else AFTER_ON_POSTGRESQL:
        op.execute(statement)


def _batches(connection: Connection) -> Iterator[list[Row[Any]]]:
    after = 0
    while rows := list(connection.execute(NEXT, {"after": after, "batch": BATCH})):
        yield rows
        after = rows[-1].serial


def _words_on_sqlite(row: Row[Any]) -> str:
    return " ".join(["", *index_terms(row.title, row.text)])


def _words_on_postgresql(row: Row[Any]) -> str:
    mark = f"{row.collection_id[-10:].lower()}{row.number // SEGMENT}"
    return " ".join(f"'{mark}{term}'" for term in index_terms(row.title, row.text))
