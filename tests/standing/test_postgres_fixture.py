"""The PostgreSQL that tests use: fresh, shared, killable, and gone afterwards."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.support.postgres import PostgresServer, PrivatePostgres, shared_postgres, wait_until

ROOT = Path(__file__).parents[2]
USER_OF_THE_SERVER = """
import sys, time
from pathlib import Path
from tests.support.postgres import shared_postgres
with shared_postgres(Path(sys.argv[1])) as server:
    print(server.port, flush=True)
    sys.stdin.read()
"""


def start_user(meeting_place: Path) -> tuple[subprocess.Popen[str], int]:
    """Start another process that uses the shared server until its standard input ends; return its port."""
    user = subprocess.Popen(
        [sys.executable, "-c", USER_OF_THE_SERVER, meeting_place],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert user.stdout is not None
    return user, int(user.stdout.readline())


@pytest.mark.slow
def test_a_fresh_database_is_empty_and_sorts_by_bytes(postgres: PostgresServer) -> None:
    """A fresh database is PostgreSQL 18, UTF-8, collation C and without a table."""
    name = postgres.create_database()
    with psycopg.connect(postgres.dsn(name)) as connection:
        facts = connection.execute(
            "SELECT current_setting('server_version_num')::int / 10000, pg_encoding_to_char(encoding),"
            " datcollate, (SELECT count(*) FROM pg_tables WHERE schemaname = 'public')"
            " FROM pg_database WHERE datname = current_database()"
        ).fetchone()
    postgres.drop_database(name)
    assert facts == (18, "UTF8", "C", 0)


@pytest.mark.slow
def test_a_copy_of_a_template_brings_its_tables(postgres: PostgresServer) -> None:
    """A database made from a template begins with the template's tables, and is separate."""
    template = postgres.create_database()
    with psycopg.connect(postgres.dsn(template)) as connection:
        connection.execute("CREATE TABLE planted (id int)")
    copy = postgres.create_database(template=template)
    with psycopg.connect(postgres.dsn(copy)) as connection:
        connection.execute("INSERT INTO planted VALUES (1)")
    with psycopg.connect(postgres.dsn(template)) as connection:
        rows = connection.execute("SELECT count(*) FROM planted").fetchone()
    postgres.drop_database(copy)
    postgres.drop_database(template)
    assert rows == (0,)


@pytest.mark.slow
def test_each_engine_gets_its_turn(database_url: str) -> None:
    """`database_url` names a database of either engine, at an address of this machine only."""
    assert database_url.startswith(("sqlite:////", "postgresql://keystead_server@127.0.0.1:"))


@pytest.mark.slow
def test_what_was_committed_survives_a_kill(private_postgres: PrivatePostgres) -> None:
    """A committed row is there after SIGKILL and a start at the same address."""
    with psycopg.connect(private_postgres.dsn()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    private_postgres.kill()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(private_postgres.dsn(), connect_timeout=2)
    private_postgres.start()
    with psycopg.connect(private_postgres.dsn()) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


@pytest.mark.slow
def test_a_private_server_syncs_to_disk(private_postgres: PrivatePostgres) -> None:
    """Tests of durability have fsync on; a clean restart keeps the address."""
    private_postgres.restart()
    with psycopg.connect(private_postgres.dsn()) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)


@pytest.mark.slow
def test_two_processes_meet_at_one_server(tmp_path: Path) -> None:
    """The second process of a run finds the first one's server; it outlives the first to leave."""
    first, port = start_user(tmp_path)
    with shared_postgres(tmp_path) as server:
        first.communicate("")
        with psycopg.connect(server.dsn()) as connection:
            answer = connection.execute("SELECT 1").fetchone()
    assert (server.port, answer) == (port, (1,))


@pytest.mark.slow
def test_a_killed_run_leaves_nothing_behind(tmp_path: Path) -> None:
    """When the only user is killed with SIGKILL, its server and the server's folder are gone."""
    user, port = start_user(tmp_path)
    folder = Path(json.loads((tmp_path / "postgres.json").read_text())["folder"])
    assert folder.exists()
    user.send_signal(signal.SIGKILL)
    user.communicate()
    wait_until(lambda: not folder.exists(), "the server's folder is removed")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", connect_timeout=2)
