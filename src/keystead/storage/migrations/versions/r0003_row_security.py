"""The words of documents in a table of their own on PostgreSQL, so that search finds its index under row security."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

WORDS_ON_POSTGRESQL = (
    """
    CREATE TABLE document_words (
        serial BIGINT NOT NULL,
        words TSVECTOR NOT NULL,
        CONSTRAINT document_words_pk PRIMARY KEY (serial),
        CONSTRAINT document_words_serial_fk FOREIGN KEY (serial) REFERENCES documents (serial) ON DELETE CASCADE
    )
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
    "INSERT INTO document_words (serial, words) SELECT serial, words FROM documents",
    """
    CREATE INDEX document_words_by_word ON document_words USING gin (words) WITH (gin_pending_list_limit = 1024)
    """,
    "DROP INDEX documents_by_word",
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for statement in WORDS_ON_POSTGRESQL:
            op.execute(statement)
