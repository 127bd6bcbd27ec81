"""A primary PostgreSQL and its standby, which may be made synchronous, stopped in its tracks, and promoted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from tests.support.postgres import HOST, PrivatePostgres, own_postgres, wait_until
from tests.support.relay import Relay, relay_to

NAME: Final = "standby"
_STREAMS: Final = "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'"
_CANCEL: Final = (
    "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
)


@dataclass
class StandbyPair:
    """Two servers. What is committed on the primary streams to the standby."""

    primary: PrivatePostgres
    standby: PrivatePostgres
    stream: Relay

    def make_synchronous(self) -> None:
        """Have every commit wait until the standby has it on disk."""
        self.primary.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{NAME}'")
        self.primary.execute("SELECT pg_reload_conf()")
        wait_until(lambda: self._query(_STREAMS) == [("sync",)], "the standby is synchronous")

    def pause(self) -> None:
        """Let nothing through to the standby: the connection stays open, and nothing is confirmed."""
        self.stream.silence()

    def cancel(self) -> None:
        """Cancel what waits for the standby, as a client's time-out, an operator or a shutdown does."""
        self.primary.execute(_CANCEL)

    def promote(self) -> None:
        """Make the standby a primary of its own, which waits for no standby, and wait until it is.

        What the old primary sent and the standby has not received is lost.
        """
        self.stream.cut()
        with psycopg.connect(self.standby.dsn(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            connection.execute("SELECT pg_promote(), pg_reload_conf()")

    def _query(self, query: Any) -> list[Any]:
        with psycopg.connect(self.primary.dsn(), autocommit=True) as connection:
            return connection.execute(query).fetchall()


@contextmanager
def standby_of(primary: PrivatePostgres) -> Iterator[StandbyPair]:
    """Start a fresh standby of the primary, which streams asynchronously at first."""
    with relay_to(primary.port) as stream, ExitStack() as stack:
        address = f"host={HOST} port={stream.port} user=postgres application_name={NAME}"
        standby = stack.enter_context(own_postgres(primary=address))
        pair = StandbyPair(primary, standby, stream)
        wait_until(lambda: bool(pair._query(_STREAMS)), "the standby streams")
        yield pair
