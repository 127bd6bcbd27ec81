"""Reading and changing rows as PostgreSQL's administrator, whom no policy restricts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from keystead.storage.database import Database, Tx
from keystead.storage.engine.roles import Purpose

ADMINISTRATOR = "postgres"


@contextmanager
def read_behind(database: Database) -> Iterator[Tx]:
    """Open a transaction that reads all rows of all workspaces."""
    if database.is_sqlite:
        with database.read_across(Purpose.OWNER) as tx:
            yield tx
        return
    with (
        closing(Database(_as_administrator(database))) as behind,
        behind.read_across(Purpose.OWNER) as tx,
    ):
        yield tx


@contextmanager
def write_behind(database: Database) -> Iterator[Tx]:
    """Open a transaction that may change anything the schema itself allows."""
    if database.is_sqlite:
        with database.write_across(Purpose.OWNER) as tx:
            yield tx
        return
    with (
        closing(Database(_as_administrator(database))) as behind,
        behind.write_across(Purpose.OWNER) as tx,
    ):
        yield tx


def tidy(database: Database) -> None:
    """Give the engine the statistics of a database in use."""
    url = str(database.url) if database.is_sqlite else _as_administrator(database)
    with closing(Database(url)) as behind, behind.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("ANALYZE" if behind.is_sqlite else "VACUUM ANALYZE")


def _as_administrator(database: Database) -> str:
    url = database.url.set(drivername="postgresql", username=ADMINISTRATOR)
    return url.render_as_string(hide_password=False)
