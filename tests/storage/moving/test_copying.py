"""A move copies every table as it is, whatever its rows have, in all four directions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from keystead.storage.database import Database
from keystead.storage.engine.connections import open_existing
from keystead.storage.engine.errors import StatementFault
from keystead.storage.moving import postgresql, sqlite
from keystead.storage.moving.copying import CopiedTable, Step, copy_all
from keystead.storage.moving.exclusive import CopyFailed, ExclusiveDatabase, InUse
from keystead.storage.moving.marks import find_mark
from keystead.storage.moving.postgresql import ExclusivePostgresql
from keystead.storage.moving.rows import COPIED, DERIVED, NOT_COPIED
from keystead.storage.moving.sqlite import ExclusiveSqlite
from keystead.storage.schema.tables import documents, metadata
from tests.support.administrator import read_behind
from tests.support.hostile_rows import IDS, fill, rows_of
from tests.support.postgres import PostgresServer
from tests.support.row_security import as_server, installed, installed_database

Fresh = Callable[[str], str]


@pytest.fixture
def fresh(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fresh]:
    """A function that creates an empty database of an engine with its schema. Returns the owner's URL."""
    names: list[str] = []

    def create(engine: str) -> str:
        names.append(f"{len(names)}")
        if engine == "sqlite":
            return installed(f"sqlite:///{tmp_path / names[-1]}.db")
        server: PostgresServer = request.getfixturevalue("postgres")
        names[-1] = installed_database(server)
        return server.dsn(names[-1])

    yield create
    for name in names:
        if name.startswith("test_"):
            request.getfixturevalue("postgres").drop_database(name)


def exclusive(url: str) -> ExclusiveDatabase:
    """Return the database for a move."""
    with closing(Database(url)) as database:
        if database.is_sqlite:
            return ExclusiveSqlite(_file(url))
        return ExclusivePostgresql(database.url)


def copied(source: str, target: str, steps: list[Step] | None = None) -> list[CopiedTable]:
    """Copy all rows from one URL to another."""
    with exclusive(source) as here, exclusive(target) as there:
        tables = copy_all(here, there, (steps if steps is not None else []).append)
        there.commit()
    return tables


def contents(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows."""
    with closing(Database(url)) as database:
        return rows_of(database)


def _file(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def test_every_table_of_a_database_is_copied_derived_or_its_own(fresh: Fresh) -> None:
    """No table can be forgotten: what is neither copied nor derived from what is, names a reason."""
    of_postgresql = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    of_sqlite = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
    for engine, query in (("sqlite", of_sqlite), ("postgresql", of_postgresql)):
        with closing(Database(fresh(engine))) as database, read_behind(database) as tx:
            tables = {str(name) for name in tx.exec_driver_sql(query).scalars()}
        derived = {name for name in tables if any(name.startswith(d) for d in DERIVED)}
        assert derived
        assert tables - derived == {table.name for table in COPIED} | NOT_COPIED
    assert {table.name for table in COPIED} == metadata.tables.keys() - NOT_COPIED


def test_hostile_rows_are_the_same_everywhere(fresh: Fresh) -> None:
    """From SQLite to PostgreSQL, to another, to SQLite and to another: the same rows and digests."""
    first = fresh("sqlite")
    fill(_file(first))
    rows = contents(first)
    assert all(len(rows[table.name]) == len(IDS) for table in COPIED)
    tables: list[CopiedTable] = []
    url = first
    for engine in ("postgresql", "postgresql", "sqlite", "sqlite"):
        steps: list[Step] = []
        target = fresh(engine)
        again = copied(url, target, steps)
        assert contents(target) == rows
        assert tables in ([], again)
        assert sum(step.rows for step in steps) == steps[0].total == 2 * len(IDS) * len(COPIED)
        tables, url = again, target
    assert _words(url) == _words(first)


def _words(url: str) -> list[set[str]]:
    with closing(open_existing(_file(url))) as connection:
        rows = connection.execute("SELECT words FROM documents ORDER BY serial").fetchall()
    return [set(words.split()) for (words,) in rows]


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_what_the_engine_keeps_by_itself_goes_on(fresh: Fresh, engine: str) -> None:
    """After a copy, words are found, the next document has a new number, and triggers count the next key."""
    source, target = fresh("sqlite"), fresh(engine)
    fill(_file(source))
    copied(source, target)
    with closing(Database(target)) as database, database.engine.begin() as tx:
        if engine == "postgresql":
            tx.execute(text("ALTER TABLE api_keys NO FORCE ROW LEVEL SECURITY"))
        assert tx.execute(text(FOUND[engine])).scalars().all() == [17]
        before = _counted(tx)
        tx.execute(text(ADD_DOCUMENT))
        serials = tx.execute(text("SELECT serial FROM documents ORDER BY number")).scalars().all()
        assert serials[-1] > max(serials[:-1])
        tx.execute(text("UPDATE api_keys SET revoked_at = 1 WHERE id = 'a'"))
        tx.execute(text("UPDATE api_keys SET revoked_at = NULL, expires_at = NULL WHERE id = 'a'"))
        assert _counted(tx) - before in {0, 1}
        tx.execute(text("UPDATE api_keys SET revoked_at = 1 WHERE id = 'a'"))
        assert _counted(tx) - before in {-1, 0}


FOUND = {
    "sqlite": "SELECT rowid FROM document_search WHERE document_search MATCH '00000000010pkey'",
    "postgresql": "SELECT serial FROM document_words WHERE words @@ '00000000010pkey'",
}
"""The second document has the word `pkey`: the end of its collection's id and its segment are before it."""
_SAME = ", ".join(c.name for c in documents.columns if c.name not in {"serial", "number", "id"})
ADD_DOCUMENT = (
    f"INSERT INTO documents (number, id, {_SAME}) SELECT 99, 'new', {_SAME} FROM documents"
    " WHERE number = 0"
)


def _counted(tx: Any) -> int:
    """Return the count of the workspace `a`."""
    query = text("SELECT counted FROM key_counts WHERE workspace_id = 'a'")
    return int(tx.execute(query).scalar_one())


def test_a_text_that_postgresql_cannot_store_is_named(fresh: Fresh) -> None:
    """A row with NUL is refused by the names of its table and column, without its value; the target stays as it was."""
    source, target = fresh("sqlite"), fresh("postgresql")
    fill(_file(source))
    before = contents(target)
    with closing(open_existing(_file(source), isolation_level=None)) as connection:
        connection.execute(
            "UPDATE documents SET title = 'sec' || char(0) || 'ret' WHERE number = 3"
        )
    with pytest.raises(CopyFailed, match=r"documents has the character NUL in title") as refusal:
        copied(source, target)
    assert "sec" not in str(refusal.value)
    assert contents(target) == before


def test_a_text_that_is_none_is_named(fresh: Fresh) -> None:
    """Bytes that are not UTF-8, in a text of a damaged database, are refused by the name of the table."""
    source, target = fresh("sqlite"), fresh("sqlite")
    with closing(open_existing(_file(source), isolation_level=None)) as connection:
        connection.execute("UPDATE plans SET name = CAST(x'eda080' AS TEXT) WHERE id = 'free'")
    with pytest.raises(CopyFailed, match="plans"):
        copied(source, target)


@pytest.mark.parametrize("fault", ["lost", "changed", "doubled"])
def test_a_difference_is_found(fresh: Fresh, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """A target that loses, changes or doubles a row is not accepted: the comparison reads what was stored."""
    source, target = fresh("sqlite"), fresh("sqlite")
    fill(_file(source))
    statement = {
        "lost": "DELETE FROM key_callers WHERE times = 0",
        "changed": "UPDATE key_use SET last_used_ip = '1.2.3.4' WHERE key_id = 'A'",
        "doubled": "INSERT INTO watermarks (name, mark, moved_at) VALUES ('more', '', 1)",
    }[fault]

    def sabotaged(self: ExclusiveSqlite) -> None:
        complete(self)
        self._execute(statement)

    complete = ExclusiveSqlite.end_filling
    monkeypatch.setattr(sqlite.ExclusiveSqlite, "end_filling", sabotaged)
    with pytest.raises(CopyFailed, match="is not like its source"):
        copied(source, target)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_database_in_use_is_refused(
    fresh: Fresh, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process with an idle connection is found; while a move has the database, another can't even read it."""
    monkeypatch.setattr(postgresql, "CLOSING_SECONDS", 0.1)
    url = fresh(engine)
    with closing(Database(url)) as idle:
        assert find_mark(idle) is None
        with pytest.raises(InUse), exclusive(url):
            pass
    with exclusive(url), pytest.raises(Exception, match=r"busy|locked|timeout|answer"):
        _read_briefly(url)
    with closing(Database(url)) as database:
        assert find_mark(database) is None


def _read_briefly(url: str) -> None:
    if url.startswith("sqlite"):
        with closing(open_existing(_file(url), timeout=0)) as connection:
            connection.execute("SELECT * FROM moves").fetchall()
    else:
        with psycopg.connect(url) as connection:
            connection.execute("SET lock_timeout = '50ms'")
            connection.execute("SELECT * FROM moves")


def test_no_limit_of_time_ends_a_long_move(fresh: Fresh) -> None:
    """Whatever an administrator has set for the database, a move takes as long as it takes."""
    url = fresh("postgresql")
    with psycopg.connect(url, autocommit=True) as connection:
        query = "SELECT name FROM pg_settings WHERE name ~ '^(statement|idle_in_.*|transaction)_timeout$'"
        limits = [name for (name,) in connection.execute(query)]
        for name in limits:
            statement = f"ALTER DATABASE {connection.info.dbname} SET {name} = '1h'"
            connection.execute(statement.encode())
    with exclusive(url) as database:
        assert {database._first(f"SHOW {name}")[0] for name in limits} == {"0"}


def test_a_login_that_is_not_the_owners_is_refused(fresh: Fresh) -> None:
    """Without the tables' owner, nothing is locked or read."""
    with pytest.raises(StatementFault) as fault, exclusive(as_server(fresh("postgresql"))):
        pass
    assert fault.value.is_forbidden
