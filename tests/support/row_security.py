"""Databases as an operator has them: tables of the owner, row security in force, the product in the server's role.

On PostgreSQL, each server has one template, and each test has a copy of it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from keystead.storage.database import Database
from keystead.storage.maintenance import migrate
from keystead.storage.row_security.apply import apply_row_security
from keystead.storage.row_security.diff import SERVER_ROLE
from keystead.storage.schema import tables as schema
from tests.support.postgres import PostgresServer

TEMPLATE = "keystead_template"
_LOCK = 0x74656D706C617465


def installed_database(server: PostgresServer) -> str:
    """Create a database with the newest schema, the default plans and row security. Returns its name."""
    _make_template(server)
    return server.create_database(template=TEMPLATE)


def server_url(server: PostgresServer, name: str) -> str:
    """Return the URL by which the product uses that database: in the server's role."""
    return as_server(server.dsn(name))


def as_server(url: str) -> str:
    """Return the same URL with the server's role as login; an embedded database's URL is unchanged."""
    return url.replace("postgresql://postgres@", f"postgresql://{SERVER_ROLE}@", 1)


def as_owner(url: str) -> str:
    """Return the same URL with the owner of its tables as login."""
    return url.replace(f"postgresql://{SERVER_ROLE}@", "postgresql://postgres@", 1)


def installed(url: str) -> str:
    """Bring the database at `url` to the newest schema and row security. Returns the URL for the server's role."""
    if _copied(url, _migrated):
        return url
    with closing(Database(as_owner(url))) as database:
        before = migrate.state(database).status
        if before is not migrate.SchemaStatus.CURRENT:
            migrate.upgrade(database)
            if not database.is_sqlite:
                apply_row_security(database, SERVER_ROLE, fresh=True)
    return as_server(url)


def declared(url: str) -> str:
    """Like `installed`; an embedded database gets the tables as the code declares them, and no plans.

    An existing database stays as it is.
    """
    if not url.startswith("sqlite:"):
        return installed(url)
    _copied(url, _declared)
    return url


def _copied(url: str, template: Callable[[], bytes]) -> bool:
    """Copy the template to an embedded database that does not exist yet. Returns whether it was copied."""
    if not url.startswith("sqlite:///"):
        return False
    file = Path(url.removeprefix("sqlite:///"))
    if file.exists() and file.stat().st_size:
        return False
    file.write_bytes(template())
    file.chmod(0o600)
    return True


@cache
def _migrated() -> bytes:
    return _database_bytes(migrate.upgrade)


@cache
def _declared() -> bytes:
    return _database_bytes(lambda database: schema.metadata.create_all(database.engine))


def _database_bytes(make: Callable[[Database], object]) -> bytes:
    """Return a whole database in one file: creating each test's own one takes longer than most tests."""
    with TemporaryDirectory(prefix="keystead-test-") as folder:
        file = Path(folder) / "keystead.db"
        with closing(Database(f"sqlite:///{file}")) as database:
            make(database)
        return file.read_bytes()


def _make_template(server: PostgresServer) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        query = "SELECT datistemplate FROM pg_database WHERE datname = %s"
        row = connection.execute(query, [TEMPLATE]).fetchone()
        if row == (True,):
            return
        server.drop_database(TEMPLATE)
        server.create_database(name=TEMPLATE)
        installed(server.dsn(TEMPLATE))
        connection.execute(f"ALTER DATABASE {TEMPLATE} IS_TEMPLATE true")
