"""The hot statement under a lease: an answer tells which server gave it, and counts while the lease runs there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from sqlalchemy import ARRAY, BigInteger, String, bindparam, func, literal_column, select, true

from keystead.domain.ids import KeyId
from keystead.domain.verification import KeyRecord
from keystead.storage.authority import lookup_statement, records_statement
from keystead.storage.clock import Clock, DatabaseClock
from keystead.storage.database import Database
from keystead.storage.lease import SERVER, Lease
from keystead.storage.lookup import Heard, PostgresqlLookup, Statements


def _statements() -> Statements:
    """Those of the lookup with a row for every key that is asked for, found or not, and the server in it.

    Without one a key that is not there would be said to be unknown by any server.
    """
    server = literal_column(SERVER, BigInteger)
    asked = select(bindparam("key_id", type_=String).label("id")).subquery()
    several = (
        func.unnest(bindparam("keys", type_=ARRAY(String))).table_valued("id").render_derived()
    )
    found = lookup_statement().subquery()
    alone = select(asked.c.id, *list(found.c)[1:], server).select_from(
        asked.outerjoin(found, true())
    )
    records = records_statement().subquery()
    shared = select(several.c.id, *list(records.c)[1:], server).select_from(
        several.outerjoin(records, records.c.id == several.c.id)
    )
    return alone, shared


class LeasedLookup(PostgresqlLookup):
    """As its parent. Unavailable, be the key known or not, where the lease does not run on the server that was read."""

    def __init__(self, database: Database, lease: Lease, heard: Heard) -> None:
        super().__init__(
            database.url, heard, _statements(), self._require_same, pulse=database.pulse
        )
        self._lease = lease

    def find(self, key_id: KeyId) -> KeyRecord | None:
        """As its parent's."""
        server = self._lease.running().server
        record = super().find(key_id)
        self._require_still(server)
        return record

    async def find_on_loop(self, key_id: KeyId) -> KeyRecord | None:
        """As its parent's."""
        server = self._lease.running().server
        record = await super().find_on_loop(key_id)
        self._require_still(server)
        return record

    def _require_still(self, server: int) -> None:
        """A read that began before the lease went over to another server is not known to have been that one's."""
        if self._lease.server != server:
            self._lease.refuse()

    def _require_same(self, row: Sequence[Any]) -> None:
        """OperationalError where the line leads to another server than the one whose lease runs: it has moved."""
        if self._lease.server not in {None, row[-2]}:
            raise psycopg.OperationalError("another server")

    def _record(self, row: Sequence[Any]) -> KeyRecord | None:
        self._lease.require(row[-2], row[-1])
        return None if row[1] is None else KeyRecord._make(row[1:-2])


def leased_lookup_of(database: Database, lease: Lease, clock: Clock) -> LeasedLookup:
    """The lookup for this database; it sets the clock, where that goes by the same database."""
    heard: Heard = clock.hear if isinstance(clock, DatabaseClock) else lambda *_: None
    return LeasedLookup(database, lease, heard)
