"""The use of keys: noted in memory at each verification, and flushed in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import count
from typing import Final
from zlib import crc32

from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.principals import Principal
from keystead.domain.scopes import KEYS_READ
from keystead.domain.usage import MAX_CALLERS, KeyCaller, UsageBuffer, UseRun
from keystead.domain.verification import Denied
from keystead.services.isolation import Isolation, OnFailure
from keystead.storage.clock import Clock, SystemClock
from keystead.storage.database import Database
from keystead.storage.engine.errors import StatementFault
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import usage as rows

TASK: Final = "flush_use"
MAX_RUNS: Final = 20_000
"""About 5 MB. Beyond it runs end early: a key that calls under ever new agents can't fill the memory."""

FLUSHES_A_ROUND: Final = 64
"""Flushes until the old callers of every key in use were deleted once."""

_Source = tuple[str, str | None, str | None]


class Usage:
    """Notes of uses in memory. A verification never waits for the database, and a failed flush keeps its notes.

    A run is a caller's uses of one key within one hour since the last flush: another use only adds to it.
    """

    def __init__(
        self, database: Database, clock: Clock | None = None, on_failure: OnFailure | None = None
    ) -> None:
        self._database = database
        self._noting = threading.Lock()
        self._flushing = threading.Lock()
        self._turns = count()
        self._writing = Isolation[KeyId](TASK, clock or SystemClock(), on_failure)
        self._trimming = Isolation[KeyId](TASK, clock or SystemClock(), on_failure)
        self._runs: dict[_Source, UseRun] = {}
        self._buffers: dict[KeyId, UsageBuffer] = {}

    def note(self, principal: Principal, at: int, address: str | None, agent: str | None) -> None:
        """Note a successful verification of a key at that microsecond."""
        source = (principal.id, address, agent)
        # Not `with`: on this path, once per verification, it would cost more than the rest.
        self._noting.acquire()
        try:
            run = self._runs.get(source)
            if run is not None and run.last_at <= at < run.hour_ends:
                run.last_at = at
                run.times += 1
            else:
                self._begin_run(source, principal.workspace_id, at)
        finally:
            self._noting.release()

    def note_refusal(self, denied: Denied, at: int, address: str | None, agent: str | None) -> None:
        """Note a refused verification, if the secret was right: a stranger leaves no trace on a key."""
        if denied.key_id is None or denied.workspace_id is None:
            return
        with self._noting:
            buffer = _buffer_of(self._buffers, denied.key_id, denied.workspace_id)
            buffer.refuse(denied.reason, at, address, agent)

    def flush(self) -> int:
        """Write what was noted since the last flush. Returns of how many keys.

        A key whose notes can't be written doesn't delay the others'; once it is given up, they are dropped. So are the
        notes of a key that no longer exists.

        Raises:
            StorageError: The notes stay in memory.
        """
        with self._flushing:
            taken = self._take()
            written: list[KeyId] = []

            def write(key_ids: Sequence[KeyId]) -> None:
                self._write({key_id: taken[key_id] for key_id in key_ids})
                for key_id in key_ids:  # committed: never put back, or it would count twice
                    del taken[key_id]
                written.extend(key_ids)

            try:
                for key_id in self._writing.together(list(taken), write):
                    del taken[key_id]
            finally:
                self._put_back(taken)
            self._forget_old_callers(written)
            return len(written)

    @retry_on_conflict
    def callers(self, principal: Principal, key_id: KeyId) -> list[KeyCaller]:
        """Return the key's recent callers, the latest first: at most ten that were served and ten that were refused."""
        principal.require(KEYS_READ)
        with self._database.read_once(principal.workspace_id) as tx:
            return rows.callers_of(tx, principal.workspace_id, key_id, MAX_CALLERS)

    def _forget_old_callers(self, key_ids: Iterable[KeyId]) -> None:
        # Each flush deletes those of a 64th of the keys, so that no flush takes much longer than the others.
        turn = next(self._turns) % FLUSHES_A_ROUND
        due = [key_id for key_id in key_ids if crc32(key_id.encode()) % FLUSHES_A_ROUND == turn]
        self._trimming.together(due, self._drop_callers)

    @retry_on_conflict
    def _write(self, taken: Mapping[KeyId, UsageBuffer]) -> None:
        try:
            with self._database.write_across(Purpose.USE, keeps_access=True) as tx:
                rows.record_use(tx, taken)
        except StatementFault:
            # A key that was deleted with its workspace: its use refers to nothing. Looking before each flush would
            # cost every flush a read, and still miss a key that is deleted in between.
            existing = self._existing(taken)
            if len(existing) == len(taken):
                raise
            self._write({key_id: taken[key_id] for key_id in existing})

    @retry_on_conflict
    def _existing(self, taken: Mapping[KeyId, UsageBuffer]) -> set[KeyId]:
        with self._database.read_across(Purpose.USE) as tx:
            return rows.existing_keys(tx, list(taken))

    @retry_on_conflict
    def _drop_callers(self, due: Collection[KeyId]) -> None:
        with self._database.write_across(Purpose.USE, keeps_access=True) as tx:
            rows.delete_old_callers(tx, due, MAX_CALLERS)

    def _begin_run(self, source: _Source, workspace_id: WorkspaceId, at: int) -> None:
        """Begin a run: since the last flush, in a new hour, or by a clock that was set back."""
        earlier = self._runs.get(source)
        if earlier is not None:
            _end_run(self._buffers, source, earlier)
        elif len(self._runs) >= MAX_RUNS:
            # Only one, since the event loop waits: the last, so that the callers noted before keep their runs.
            _end_run(self._buffers, *self._runs.popitem())
        self._runs[source] = UseRun.begin(workspace_id, at)

    def _take(self) -> dict[KeyId, UsageBuffer]:
        with self._noting:
            taken, self._buffers = self._buffers, {}
            runs, self._runs = self._runs, {}
        _end_runs(taken, runs)
        return taken

    def _put_back(self, taken: dict[KeyId, UsageBuffer]) -> None:
        with self._noting:
            for key_id, earlier in taken.items():
                later = self._buffers.get(key_id)
                if later is None:
                    self._buffers[key_id] = earlier
                else:
                    later.merge(earlier)


def _buffer_of(
    buffers: dict[KeyId, UsageBuffer], key_id: KeyId, workspace_id: WorkspaceId
) -> UsageBuffer:
    buffer = buffers.get(key_id)
    if buffer is None:
        buffer = buffers[key_id] = UsageBuffer(key_id, workspace_id)
    return buffer


def _end_runs(buffers: dict[KeyId, UsageBuffer], runs: dict[_Source, UseRun]) -> None:
    for source, run in runs.items():
        _end_run(buffers, source, run)


def _end_run(buffers: dict[KeyId, UsageBuffer], source: _Source, run: UseRun) -> None:
    key_id, address, agent = source
    buffer = _buffer_of(buffers, KeyId(key_id), run.workspace_id)
    buffer.note(run.last_at, address, agent, run.times)
