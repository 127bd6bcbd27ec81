"""The revisions create exactly the schema that the code declares, once, with any number of processes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import event, text

from keystead.domain.plans import DEFAULT_PLANS
from keystead.storage.database import Database
from keystead.storage.maintenance import migrate
from keystead.storage.maintenance.migrate import SchemaStatus
from keystead.storage.schema import tables as schema
from keystead.storage.tables import plans
from tests.support.administrator import read_behind, write_behind
from tests.support.postgres import PostgresServer
from tests.support.processes import together
from tests.support.versions import LATER, later_version, revisions_with

__all__ = ["later_version"]

SQLITE_OBJECTS = "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
POSTGRESQL_OBJECTS = (
    """
    SELECT table_name || '.' || column_name, concat_ws(' ', data_type, collation_name, is_nullable,
        column_default, is_identity, identity_generation, col_description(table_name::regclass, ordinal_position))
    FROM information_schema.columns WHERE table_schema = 'public'
    """,
    """
    SELECT conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    """,
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'",
    "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
)


@pytest.fixture
def database(empty_url: str) -> Iterator[Database]:
    """An empty database of each engine."""
    opened = Database(empty_url)
    yield opened
    opened.close()


@pytest.fixture
def from_metadata(
    database: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Database]:
    """Another empty database of the same engine, with the tables as the code declares them."""
    if database.is_sqlite:
        yield from _declared(f"sqlite:///{tmp_path / 'declared.db'}")
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.create_database()
    yield from _declared(server.dsn(name))
    server.drop_database(name)


def _declared(url: str) -> Iterator[Database]:
    declared = Database(url)
    schema.metadata.create_all(declared.engine)
    yield declared
    declared.close()


def objects_of(database: Database) -> dict[str, object]:
    """Return everything in the schema by its name, as the engine reports it, without Alembic's own table."""
    with read_behind(database) as tx:
        if database.is_sqlite:
            objects = {name: _clauses(sql or "") for name, sql in tx.execute(text(SQLITE_OBJECTS))}
        else:
            objects = {
                name: definition
                for query in POSTGRESQL_OBJECTS
                for name, definition in tx.execute(text(query))
            }
    return {
        name: definition for name, definition in objects.items() if "alembic_version" not in name
    }


def _clauses(sql: str) -> list[str]:
    """Return the clauses of a statement in a fixed order: constraints may be declared in any.

    A column that was added later is on the line of the one before it.
    """
    lines = re.sub(r", (?=\w+ (?:INTEGER|TEXT|BLOB)\b)", ",\n", sql).splitlines()
    return sorted(line.strip().rstrip(",") for line in lines if line.strip())


def test_revisions_equal_the_declared_schema(database: Database, from_metadata: Database) -> None:
    """A migrated database has every table, column, constraint, index, view and trigger of the declared one."""
    migrate.upgrade(database)
    migrated, declared = objects_of(database), objects_of(from_metadata)
    assert migrated == declared
    assert len(declared) > 20


def test_an_upgrade_is_done_once(database: Database) -> None:
    """An empty database is empty, then current; the second upgrade changes nothing; the plans are there."""
    assert migrate.state(database).status is SchemaStatus.EMPTY
    migrate.upgrade(database)
    before = objects_of(database)
    migrate.upgrade(database)
    assert objects_of(database) == before
    assert migrate.state(database).status is SchemaStatus.CURRENT
    with read_behind(database) as tx:
        assert tuple(plans.all_plans(tx)) == DEFAULT_PLANS


@pytest.mark.parametrize(("revision", "status"), [("0000", "behind"), ("9999", "ahead")])
def test_other_revisions_are_distinguished(database: Database, revision: str, status: str) -> None:
    """A database of an older version is behind, one of a newer version ahead."""
    migrate.upgrade(database)
    with write_behind(database) as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = :now"), {"now": revision})
    assert migrate.state(database).status == status


def test_the_newest_revision_is_alembics_head() -> None:
    """The files are named after their revisions: the number read from the names is the head that Alembic finds."""
    config = Config()
    config.set_main_option("script_location", str(migrate.REVISIONS))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    assert migrate.newest_revision() == scripts.get_current_head()
    for script in scripts.walk_revisions():
        assert Path(script.path).name.startswith(f"r{script.revision}_")


def test_a_revision_is_all_or_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revision that fails halfway leaves the schema as it was, at the revision before."""
    migrate.upgrade(database)
    before = objects_of(database)
    broken = tmp_path / LATER.name
    broken.write_text(f"{LATER.read_text()}    raise RuntimeError\n")
    monkeypatch.setattr(migrate, "REVISIONS", revisions_with(tmp_path / "migrations", broken))
    with pytest.raises(RuntimeError):
        migrate.upgrade(database)
    assert objects_of(database) == before
    assert migrate.state(database).found == "0004"


def test_a_later_revision_follows(database: Database, later_version: Path) -> None:
    """A database of the first revision is brought to the later one, with its rows."""
    migrate.upgrade(database, "0001")
    with write_behind(database) as tx:
        tx.exec_driver_sql(
            "INSERT INTO workspaces (id, name, plan_id, created_at) VALUES ('w', 'W', 'free', 1)"
        )
    migrate.upgrade(database)
    assert migrate.state(database).status is SchemaStatus.CURRENT
    with read_behind(database) as tx:
        assert tx.execute(text("SELECT id, note FROM workspaces")).one() == ("w", "W")


@pytest.mark.slow
def test_scans_continue_under_their_new_names(database: Database) -> None:
    """Under the old names they move only while an older server runs."""
    migrate.upgrade(database, "0002")
    insert = "INSERT INTO watermarks (name, mark, moved_at) VALUES (:name, :mark, 1)"
    names = {
        "ends in 7": "expiring in 7",
        "refusals": "refused callers",
        "disuse": "unused keys",
    }
    with write_behind(database) as tx:
        for name in names:
            tx.execute(text(insert), {"name": name, "mark": f"as far as {name}"})
    migrate.upgrade(database)
    with read_behind(database) as tx:
        rows = tx.execute(text("SELECT name, mark FROM watermarks")).all()
        marks = {row[0]: row[1] for row in rows}
    assert {marks[new] for new in names.values()} == {f"as far as {old}" for old in names}
    assert all(marks[new] == marks[old] for old, new in names.items())


def test_concurrent_upgrades_run_once(database: Database) -> None:
    """Of four processes that upgrade one empty database at the same moment, all end well."""
    url = database.url.render_as_string(hide_password=False)
    assert together(_race, *[(url,)] * 4) == [0] * 4
    assert migrate.state(database).status is SchemaStatus.CURRENT


def _race(gate: Barrier, url: str) -> None:
    racing = Database(url)
    gate.wait(30)
    migrate.upgrade(racing)
    racing.close()


def test_concurrent_processes_can_open_one_new_file(tmp_path: Path) -> None:
    """Of four processes that open a new file at the same moment, none gets an error that the database is away."""
    assert together(_open_each, *[(tmp_path,)] * 4) == [0] * 4


def _open_each(gate: Barrier, folder: Path) -> None:
    for number in range(30):
        opened = Database(f"sqlite:///{folder / str(number)}.db")
        gate.wait(30)
        migrate.state(opened)
        opened.close()


LOCKED_OUT = """
    SELECT relation::regclass::text FROM pg_locks
    WHERE pid = pg_backend_pid() AND mode = 'AccessExclusiveLock'
    AND relation IN ('api_keys'::regclass, 'workspaces'::regclass)
"""


def test_revisions_lock_tables_in_the_order_of_a_verification(
    postgres: PostgresServer, later_version: Path
) -> None:
    """A revision that locks readers out of `workspaces` has locked `api_keys` before, or never does: no deadlock."""
    name = postgres.create_database()
    database = Database(postgres.dsn(name))
    migrate.upgrade(database, "0001")
    steps: list[set[str]] = []

    def note_locks(connection: Any, *_: object) -> None:
        driver = connection.connection.driver_connection
        tables = {table for (table,) in driver.execute(LOCKED_OUT)}
        if tables and tables not in steps:
            steps.append(tables)

    event.listen(database.engine, "after_cursor_execute", note_locks)
    orders = {}
    for revision in migrate._revisions()[1:]:
        migrate.upgrade(database, revision)
        orders[revision] = steps.copy()
        steps.clear()
    database.close()
    postgres.drop_database(name)
    assert any(orders.values())
    assert not [number for number, order in orders.items() if {"workspaces"} in order[:-1]]
