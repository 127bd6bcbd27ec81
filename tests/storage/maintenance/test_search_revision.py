"""Migrating the index of documents' words: what was pushed to the first schema is found by today's search."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from keystead.domain.documents import Collection, CollectionId
from keystead.domain.ids import WorkspaceId
from keystead.domain.instants import EPOCH
from keystead.domain.search import parse_query
from keystead.services.searches import search_page
from keystead.storage.database import Database, Tx
from keystead.storage.maintenance import migrate
from tests.support.administrator import read_behind, write_behind
from tests.support.versions import revisions_with

COLLECTION = Collection(
    CollectionId("col_0abcdefghij"), WorkspaceId("w"), "docs", "Docs", 0, EPOCH, EPOCH
)
WORDS = {"sqlite": " akey akey2", "postgresql": "'0abcdefghijakey'"}
"""Words as the first schema had them."""
INSERT = """
    INSERT INTO documents
        (workspace_id, collection_id, number, id, title, attributes, digest, created_at, updated_at, text, words)
    VALUES ('w', :id, :n, 'd' || :name, 'Key', '{}', :digest, 1, 1, :text, :words)
"""
STORED = "SELECT words FROM documents ORDER BY serial"
REVISION = next(migrate.REVISIONS.glob("versions/r0002_*.py"))
DOCUMENTS = 250
"""More than one batch of the migration."""


@pytest.fixture
def database(empty_url: str) -> Iterator[Database]:
    """A database of the first schema with documents, on each engine."""
    opened = Database(empty_url)
    migrate.upgrade(opened, "0001")
    with write_behind(opened) as tx:
        fill(tx)
    yield opened
    opened.close()


def fill(tx: Tx) -> None:
    """Insert a workspace, a collection and documents."""
    tx.exec_driver_sql(
        "INSERT INTO workspaces (id, name, plan_id, created_at) VALUES ('w', 'W', 'free', 1)"
    )
    tx.execute(
        text(
            "INSERT INTO collections (id, workspace_id, name, title, created_at, updated_at)"
            " VALUES (:id, 'w', 'docs', 'Docs', 1, 1)"
        ),
        {"id": COLLECTION.id},
    )
    tx.execute(
        text(INSERT),
        [
            {
                "id": COLLECTION.id,
                "n": number,
                "name": str(number),
                "digest": b"0",
                "text": f"number n{number} 漢字",
                "words": WORDS[tx.dialect.name],
            }
            for number in range(1, DOCUMENTS + 1)
        ],
    )


def found(database: Database, query: str) -> list[str]:
    """Return the ids of the best matches."""
    with read_behind(database) as tx:
        page = search_page(tx, COLLECTION, parse_query(query), 200, None)
    return [hit.id for hit in page.items]


def test_documents_of_the_first_schema_are_found(database: Database) -> None:
    """After the migration every document is found by its words, and by no former ones."""
    migrate.upgrade(database)
    assert found(database, f"n{DOCUMENTS}") == [f"d{DOCUMENTS}"]
    assert "d7" in found(database, "n7")
    assert len(found(database, "漢字")) == 200
    assert found(database, "key2") == []
    with write_behind(database) as tx:
        tx.exec_driver_sql("DELETE FROM documents WHERE id = 'd7'")
        if database.is_sqlite:
            check = (
                "INSERT INTO document_search (document_search, rank) VALUES ('integrity-check', 1)"
            )
            tx.exec_driver_sql(check)
    assert "d7" not in found(database, "n7")


def test_an_interrupted_migration_starts_over(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it fails after the words were computed, they are as before, and the next migration succeeds."""
    with read_behind(database) as tx:
        before = tx.exec_driver_sql(STORED).scalars().all()
    broken = tmp_path / REVISION.name
    ending = "    for statement in AFTER"
    broken.write_text(REVISION.read_text().replace(ending, f"    raise RuntimeError\n{ending}"))
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "REVISIONS", revisions_with(tmp_path / "migrations", broken))
        with pytest.raises(RuntimeError):
            migrate.upgrade(database)
    with read_behind(database) as tx:
        assert tx.exec_driver_sql(STORED).scalars().all() == before
    assert migrate.state(database).found == "0001"
    migrate.upgrade(database)
    assert found(database, "n7")[0] == "d7"
