"""Reports of use: of one key, of a workspace and of all workspaces, by day, key or hour."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from keystead.domain.errors import NotFound
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.principals import Principal
from keystead.domain.scopes import KEYS_READ
from keystead.domain.usage import Period, UseCount, hour_of
from keystead.services.paging import Page, page_of
from keystead.storage.clock import Clock
from keystead.storage.database import Database
from keystead.storage.engine.roles import Purpose
from keystead.storage.retry import retry_on_conflict
from keystead.storage.tables import keys
from keystead.storage.tables import usage_reports as rows
from keystead.storage.tables.usage_reports import KeyUsage, WorkspaceUsage

HOUR = timedelta(hours=1)


class UsageReports:
    """What was used, as far as it was flushed: exact, and at most two seconds late. What was not used is absent."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def today(self) -> date:
        """Return the current day (UTC)."""
        return self._clock.now().date()

    @retry_on_conflict
    def of_key(self, principal: Principal, key_id: KeyId, period: Period) -> dict[date, UseCount]:
        """Return the use of one key by day, oldest first. Raises NotFound."""
        principal.require(KEYS_READ)
        workspace_id = principal.workspace_id
        with self._database.read(workspace_id) as tx:
            NotFound.unless(keys.find_key(tx, workspace_id, key_id), "key")
            return rows.use_of_key(tx, workspace_id, key_id, period)

    @retry_on_conflict
    def hours_of_key(
        self, principal: Principal, key_id: KeyId, hours: int
    ) -> dict[datetime, UseCount]:
        """Return the use of one key in the last `hours` hours by the hour, this one included. Eight days are kept."""
        principal.require(KEYS_READ)
        since = hour_of(self._clock.now()) - hours + 1
        with self._database.read_once(principal.workspace_id) as tx:
            return rows.hours_of_key(tx, principal.workspace_id, key_id, since)

    @retry_on_conflict
    def of_workspace(self, principal: Principal, period: Period) -> dict[date, UseCount]:
        """Return the use of all keys together by day, oldest first."""
        principal.require(KEYS_READ)
        with self._database.read_once(principal.workspace_id) as tx:
            return rows.use_of_workspace(tx, principal.workspace_id, period)

    @retry_on_conflict
    def by_key(
        self, principal: Principal, period: Period, *, limit: int, before: KeyId | None = None
    ) -> Page[KeyUsage, KeyId]:
        """Return a page of the keys with any use, newest key first, continuing below a key's id."""
        principal.require(KEYS_READ)
        with self._database.read_once(principal.workspace_id) as tx:
            found = rows.use_by_key(tx, principal.workspace_id, period, limit + 1, before)
        return page_of(found, limit, lambda usage: usage.key_id)

    @retry_on_conflict
    def by_workspace(
        self, period: Period, *, limit: int, before: tuple[date, WorkspaceId] | None = None
    ) -> Page[WorkspaceUsage, tuple[date, WorkspaceId]]:
        """Return a page of the days of all workspaces with any use, newest day and newest workspace first."""
        with self._database.read_across(Purpose.OPERATOR) as tx:
            found = rows.use_by_workspace(tx, period, limit + 1, before)
        return page_of(found, limit, lambda usage: (usage.day, usage.workspace_id))
