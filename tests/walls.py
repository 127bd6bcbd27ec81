"""Databases as an operator has them: the schema the owner's, row security in force, the product in the server's role.

On PostgreSQL a template is made once for each server, and each test has a copy of it.
"""

from __future__ import annotations

from contextlib import closing

import psycopg

from keystead.storage import migrate, schema
from keystead.storage.database import Database
from keystead.storage.row_security import SERVER_ROLE
from keystead.storage.walls import wall
from tests.postgres import Postgres

TEMPLATE = "keystead_template"
_LOCK = 0x74656D706C617465


def installed_database(server: Postgres) -> str:
    """The name of a fresh database with the newest schema, the default plans and row security."""
    _make_template(server)
    return server.create_database(template=TEMPLATE)


def server_url(server: Postgres, name: str) -> str:
    """The URL by which the product uses that database: in the server's role."""
    return as_server(server.dsn(name))


def as_server(url: str) -> str:
    """The same URL with the server's role as login; that of an embedded database as it is."""
    return url.replace("postgresql://postgres@", f"postgresql://{SERVER_ROLE}@", 1)


def as_owner(url: str) -> str:
    """The same URL with the owner of its tables as login."""
    return url.replace(f"postgresql://{SERVER_ROLE}@", "postgresql://postgres@", 1)


def installed(url: str) -> str:
    """The database at `url` brought to the newest schema and under row security; the URL for the server's role."""
    with closing(Database(as_owner(url))) as database:
        before = migrate.state(database).status
        if before is not migrate.SchemaStatus.CURRENT:
            migrate.upgrade(database)
            if not database.is_sqlite:
                wall(database, SERVER_ROLE, fresh=True)
    return as_server(url)


def declared(url: str) -> str:
    """As `installed`; the tables of an embedded database as the code declares them, which is quicker, and no plans."""
    if not url.startswith("sqlite:"):
        return installed(url)
    with closing(Database(url)) as database:
        schema.metadata.create_all(database.engine)
    return url


def _make_template(server: Postgres) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        found = "SELECT datistemplate FROM pg_database WHERE datname = %s"
        made = connection.execute(found, [TEMPLATE]).fetchone()
        if made == (True,):
            return
        server.drop_database(TEMPLATE)
        server.create_database(name=TEMPLATE)
        installed(server.dsn(TEMPLATE))
        connection.execute(f"ALTER DATABASE {TEMPLATE} IS_TEMPLATE true")
