"""How the engines find documents by their terms: FTS5 on SQLite, a GIN index over tsvectors on PostgreSQL.

Terms are domain.search's: letters and digits only, so nothing in them means anything to either engine. In the index
each has its collection's mark in front: neither what is found nor what it costs depends on other collections.

On PostgreSQL the index is over a table of its own, without row security: `@@` is not leakproof, so under a policy no
index would serve it. A trigger of the table of documents keeps it.
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
"""The stored form of a document's terms: see `stored_words`."""

PENDING_KILOBYTES: Final = 1024
"""PostgreSQL's list of entries that are not in the GIN index yet is read by every search: it is kept short."""

MARK_WIDTH: Final = 10
"""The end of a collection's id, in small letters, is its mark: some 50 random bits. A reader names the tenant too."""

document_words: Final = table("document_words", column("serial"), column("words"))
"""PostgreSQL's: the words of each document, by its number."""

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
    """What search needs once the table of documents is made: an index over its words, kept by triggers.

    SQLite's `ascii` tokenizer parts words at ASCII characters that are neither letters nor digits and nowhere else.
    Without positions (`detail`) and with the words in the table of documents (`content`) its index holds row numbers
    alone.
    """
    for statement in _CREATE_ON_SQLITE if _is_sqlite(connection) else _CREATE_ON_POSTGRESQL:
        connection.exec_driver_sql(statement)


def stored_words(connection: Connection, collection_id: CollectionId, terms: Iterable[str]) -> str:
    """The terms as the column `words` takes them: a tsvector's text, or each term with a space in front of it."""
    if _is_sqlite(connection):
        return "".join(f" {term}" for term in terms)
    mark = _mark(collection_id)
    return " ".join(f"'{mark}{term}'" for term in terms)


def matches(
    connection: Connection, collection_id: CollectionId, clauses: Sequence[Clause]
) -> CompoundSelect[Any]:
    """`serial` and `points` of each document that fulfils a clause, once per clause."""
    find = _find_on_sqlite if _is_sqlite(connection) else _find_on_postgresql
    mark = _mark(collection_id)
    return union_all(*(find(mark, clause) for clause in clauses))


def keep_to_the_index(connection: Connection) -> None:
    """No search row by row in this transaction: PostgreSQL's estimate of it leaves out the unpacking of tsvectors."""
    if not _is_sqlite(connection):
        connection.execute(text("SET LOCAL enable_seqscan = off"))


def _find_on_sqlite(mark: str, clause: Clause) -> Select[Any]:
    query = " AND ".join(f'"{mark}{term.text}"{"*" * term.prefix}' for term in clause.terms)
    found = select(_INDEX.c.rowid.label("serial"), literal(clause.points).label("points"))
    return found.where(column("document_search").op("MATCH")(query))


def _find_on_postgresql(mark: str, clause: Clause) -> Select[Any]:
    query = " & ".join(f"'{mark}{term.text}'{':*' * term.prefix}" for term in clause.terms)
    found = select(document_words.c.serial, literal(clause.points).label("points"))
    return found.where(document_words.c.words.op("@@")(cast(query, TSQUERY)))


def _mark(collection_id: CollectionId) -> str:
    return collection_id[-MARK_WIDTH:].lower()


def _is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"
