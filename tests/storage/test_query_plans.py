"""How the engines run frequent queries: by an index, in the index's order, whatever other workspaces hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import insert

from keystead.domain.documents import CollectionDraft
from keystead.domain.errors import LimitReached, NotFound
from keystead.domain.events import EventType
from keystead.domain.ids import KeyId, WorkspaceId
from keystead.domain.key_hygiene import HygieneFinding
from keystead.domain.key_lists import KeyFilter, KeyOrder, KeySelection, KeySort
from keystead.domain.keys import KeyDraft, KeyPatch, KeyStatus
from keystead.domain.policies import Policy
from keystead.domain.principals import Principal, operator
from keystead.domain.renewals import Renewal
from keystead.domain.scopes import FULL
from keystead.domain.token import assemble
from keystead.domain.usage import Period, day_number
from keystead.services.cleanup import ExpiredRows
from keystead.services.events import Events
from keystead.services.idempotency import Once
from keystead.services.installation_counts import InstallationCounts
from keystead.services.keys import Keys
from keystead.services.quiet_ends import QuietEnds
from keystead.services.usage_reports import UsageReports
from keystead.storage.engine.roles import Purpose
from keystead.storage.schema.tables import api_keys, events, key_use, key_use_days, workspaces
from keystead.storage.tables.keys import pepper_ids_of_live_keys
from keystead.storage.tables.usage import delete_old_callers
from tests.support.administrator import tidy, write_behind
from tests.support.clocks import NOON
from tests.support.installations import ENGINES, UNLIMITED, SandboxInstallation, fresh_sandbox
from tests.support.plans import plans_of

WORKSPACES = 100
ROWS = 10_000
MONTH = Period(NOON.date() - timedelta(days=30), NOON.date())
DAY = timedelta(days=1)
OLDEST = 350
"""The number of the oldest rows, most of them the tenant's: an old workspace must not pay for newer ones."""

GROWING = (
    "api_keys",
    "collections",
    "events",
    "idempotency_keys",
    "key_callers",
    "key_counts",
    "key_use",
    "key_use_days",
    "key_use_hours",
    "workspaces",
)


@dataclass(frozen=True)
class Crowd:
    """Many workspaces with many keys and events; one of them is the tenant's."""

    sandbox: SandboxInstallation
    tenant: Principal

    def key(self, number: int = 100) -> KeyId:
        """Return one of the tenant's active keys."""
        return assemble("ks", 3 * number, bytes(32)).key_id

    def refused(self) -> None:
        """Create a key beyond the limit."""
        self.sandbox.limit(self.tenant, 1)
        with pytest.raises(LimitReached):
            self.keys.create(self.tenant, KeyDraft("x"))
        self.sandbox.limit(self.tenant, None)

    def overlap(self) -> None:
        """Rotate a key that stays active for a while, under a limit."""
        self.sandbox.limit(self.tenant, ROWS)
        old = self.keys.create(self.tenant, KeyDraft("x")).key
        self.sandbox.services.rotations.rotate(self.tenant, old.id, overlap=timedelta(hours=1))
        self.sandbox.limit(self.tenant, None)

    def renew(self) -> None:
        """Let a key renew itself, again after a lost answer, and use its successor."""
        renewals = self.sandbox.services.renewals
        principal = self.sandbox.principal(self.sandbox.key(self.tenant, renewal=Renewal()))
        renewals.renew(principal)
        self.sandbox.verify(renewals.renew(principal))

    def suspend(self) -> None:
        """Suspend the workspace, and resume it for the tests that come after."""
        workspaces = self.sandbox.services.workspaces
        workspaces.suspend(self.tenant.workspace_id)
        workspaces.resume(self.tenant.workspace_id)

    def end_silent(self) -> None:
        """Look for silent keys."""
        QuietEnds(self.sandbox.database, self.sandbox.clock).run()

    def peppers(self) -> None:
        """Read what a server reads when it starts."""
        with self.sandbox.database.read_across(Purpose.SERVER) as tx:
            assert pepper_ids_of_live_keys(tx, NOON) == {"p1", "p2"}

    def forget_old_callers(self) -> None:
        """Forget old callers, as a flush does for a few of its keys."""
        with self.sandbox.database.write_across(Purpose.USE) as tx:
            delete_old_callers(tx, [self.key(), self.key(101)], 10)

    def named(self, name: str) -> None:
        """Search by name, as the command line does."""
        with pytest.raises(NotFound):
            self.sandbox.services.workspaces.named(name)

    def collection(self) -> None:
        """Create one more collection of the tenant's."""
        name = f"c{len(self.sandbox.services.documents.list_collections(self.tenant).items)}"
        self.sandbox.services.documents.create_collection(self.tenant, CollectionDraft(name))

    def sorted(self, sort: KeySort, ascending: bool, is_continued: bool) -> None:
        """Read a page of a sorted list."""
        wanted = KeySelection(sort=sort, ascending=ascending)
        after = None
        if is_continued:
            after = self.keys.list(self.tenant, wanted, limit=2).next
        self.keys.list(self.tenant, wanted, limit=5, after=after)

    @property
    def keys(self) -> Keys:
        """The use cases of keys."""
        return self.sandbox.services.keys

    @property
    def reports(self) -> UsageReports:
        """The reports of use."""
        return self.sandbox.services.usage_reports

    @property
    def events(self) -> Events:
        """The use cases of events."""
        return self.sandbox.services.events


@pytest.fixture(scope="module", params=ENGINES)
def crowd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Crowd]:
    """A hundred workspaces with ten thousand keys and events, and the statistics of a database in use."""
    with fresh_sandbox(request, tmp_path_factory, request.param) as sandbox:
        tenants = [
            operator("tests", WorkspaceId(f"ws_{number:022}")) for number in range(WORKSPACES)
        ]
        with write_behind(sandbox.database) as tx:
            for table, rows in _rows(tenants).items():
                tx.execute(insert(table), rows)
        tidy(sandbox.database)
        yield Crowd(sandbox, tenants[0])


def _rows(tenants: list[Principal]) -> dict[Any, list[dict[str, Any]]]:
    rows: dict[Any, list[dict[str, Any]]] = {
        table: [] for table in (workspaces, api_keys, key_use, key_use_days, events)
    }
    for number in range(ROWS):
        tenant = tenants[0 if number < OLDEST else number % WORKSPACES]
        workspace_id = tenant.workspace_id
        key_id = assemble("ks", number, bytes(32)).key_id
        name = "tests" if number % 50 else "rare"
        by = {"kind": "operator", "id": name, "name": name}
        rows[api_keys].append(
            {
                "id": key_id,
                "workspace_id": workspace_id,
                "description": "x",
                "folded_description": "x",
                "hint": "ks_…abcd",
                "pepper_id": "p2" if number % 1000 else "p1",
                "digest": bytes(32),
                "scopes": FULL,
                "created_at": NOON,
                "revoked_at": NOON if number % 3 else None,
                **{f"created_by_{name}": value for name, value in by.items()},
            }
        )
        rows[key_use].append({"key_id": key_id, "workspace_id": workspace_id, "last_used_at": NOON})
        rows[key_use_days].append(
            {
                "key_id": key_id,
                "workspace_id": workspace_id,
                "day": day_number(NOON.date()) - number % 40,
                "uses": 1,
            }
        )
        rows[events].append(
            {
                "workspace_id": workspace_id,
                "sequence": number,
                "id": f"evt_{number}",
                "type": "key.revoked" if number // WORKSPACES % 50 else "key.rotated",
                "occurred_at": NOON,
                "target_type": "key",
                "target_id": key_id,
                "data": {},
                "position": number + 1,
                **{f"actor_{name}": value for name, value in by.items()},
            }
        )
    rows[workspaces] = [
        {
            "id": one.workspace_id,
            "name": "W",
            "plan_id": UNLIMITED,
            "created_at": NOON,
            "last_event": ROWS,
        }
        for one in tenants
    ]
    return rows


def _plans(crowd: Crowd, act: Callable[[], object]) -> list[str]:
    return plans_of(crowd.sandbox.database, act)


def _scans(plan: str) -> list[str]:
    """Return the growing tables that a plan reads from end to end, or along an index without a condition.

    The indexes of events that are not in the feed yet, and of deleted workspaces, have few rows.
    """
    few = r" USING (?:COVERING )?INDEX (?:\w+_unplaced|workspaces_deleted)"
    whole = re.findall(rf"(?:SCAN|Seq Scan on) (\w+)\b(?!{few})", plan)
    along = re.findall(r"Index \w*\s?Scan \w*\s?using \w+ on (\w+).*\n(?!\s+Index Cond)", plan)
    return [table for table in whole + along if table in GROWING]


ACTS: dict[str, Callable[[Crowd], object]] = {
    "first page": lambda c: c.keys.list(c.tenant, limit=5),
    "next page": lambda c: c.keys.list(c.tenant, limit=5, after=c.key()),
    "active keys": lambda c: c.keys.list(c.tenant, KeySelection(KeyStatus.ACTIVE)),
    "search": lambda c: c.keys.list(c.tenant, KeySelection(query="x")),
    "one key": lambda c: c.keys.get(c.tenant, c.key()),
    "creation": lambda c: c.keys.create(c.tenant, KeyDraft("x"), once=Once("o", bytes(32))),
    "change": lambda c: c.keys.update(c.tenant, c.key(), KeyPatch("y")),
    "revocation": lambda c: c.keys.revoke(c.tenant, c.key(101)),
    "rotation": lambda c: c.sandbox.services.rotations.rotate(
        c.tenant, c.key(102), overlap=timedelta(hours=1)
    ),
    "renewal": lambda c: c.renew(),
    "silent keys": lambda c: c.end_silent(),
    "predecessor": lambda c: c.keys.predecessor(c.tenant, c.key()),
    **{
        f"{sort} {'up' if ascending else 'down'}, {'next' if after else 'first'} page": partial(
            Crowd.sorted, sort=sort, ascending=ascending, is_continued=after
        )
        for sort in KeySort
        for ascending in (True, False)
        for after in (True, False)
    },
    "keys of a creator": lambda c: c.keys.list(c.tenant, KeySelection(created_by="rare")),
    "unused keys": lambda c: c.keys.list(c.tenant, KeySelection(unused_for=DAY)),
    "expiring keys": lambda c: c.keys.list(c.tenant, KeySelection(expiring_within=DAY)),
    "keys outside a policy": lambda c: c.keys.list(
        c.tenant, KeySelection(outside=Policy(max_lifetime_days=1, expiry_required=True))
    ),
    "events": lambda c: c.events.list(c.tenant, limit=5),
    "next events": lambda c: c.events.list(c.tenant, limit=5, before=ROWS // 2),
    "events of a type": lambda c: c.events.list(c.tenant, limit=5, types=[EventType.KEY_ROTATED]),
    "feed": lambda c: c.sandbox.services.feed.read(limit=5),
    "next events of the feed": lambda c: c.sandbox.services.feed.read(ROWS - 50, limit=5),
    "feed of a type": lambda c: c.sandbox.services.feed.read(ROWS - 50, type="key.rotated"),
    "feed of a workspace": lambda c: c.sandbox.services.feed.read(
        100, workspace_id=c.tenant.workspace_id
    ),
    "new events": lambda c: c.sandbox.services.feed.place(),
    "use of a workspace": lambda c: c.reports.of_workspace(c.tenant, MONTH),
    "use by key": lambda c: c.reports.by_key(c.tenant, MONTH, limit=5),
    "use by workspace": lambda c: c.reports.by_workspace(MONTH, limit=5),
    "next use by workspace": lambda c: c.reports.by_workspace(
        MONTH, limit=5, before=(NOON.date(), c.tenant.workspace_id)
    ),
    "use per hour": lambda c: c.reports.hours_of_key(c.tenant, c.key(), 48),
    "use per day": lambda c: c.reports.of_key(c.tenant, c.key(), MONTH),
    "suspension": lambda c: c.suspend(),
    "plan": lambda c: c.sandbox.services.plans.use(c.tenant),
    "revoked keys": lambda c: c.keys.list(c.tenant, KeySelection(KeyStatus.REVOKED)),
    "keys of a habit": lambda c: c.keys.list(
        c.tenant, KeySelection(finding=HygieneFinding.NEVER_USED)
    ),
    "candidates": lambda c: c.keys.candidates(c.tenant),
    "full limit": lambda c: c.refused(),
    "overlap under a limit": lambda c: c.overlap(),
    "callers": lambda c: c.sandbox.services.usage.callers(c.tenant, c.key()),
    "old callers": lambda c: c.forget_old_callers(),
    "a workspace by its name": lambda c: c.named("W 7"),
    "peppers at a start": lambda c: c.peppers(),
    "new collection": lambda c: c.collection(),
    "collections": lambda c: c.sandbox.services.documents.list_collections(c.tenant, limit=5),
}
SORTED = [name for name in ACTS if name.endswith("page") and "," in name]
FILTERED = ("keys of a creator", "unused keys", "expiring keys", "keys outside a policy")
ORDERED = (
    *SORTED,
    *FILTERED,
    "first page",
    "next page",
    "active keys",
    "revoked keys",
    "search",
    "keys of a habit",
    "events",
    "next events",
    "collections",
    "feed",
    "next events of the feed",
    "feed of a type",
    "use by key",
    "use by workspace",
    "next use by workspace",
)

EXPIRED_SINCE = (
    r"api_keys_live \(workspace_id=\? AND rotated_to=\? AND expires_at>\? AND expires_at<\?\)"
    r"|Index Cond: \(\(workspace_id = [^\n]*\(expires_at > [^\n]*\(expires_at <= "
)
"""The part of a plan that reads the keys of one workspace that expired in a period."""


def test_the_gauges_read_no_active_key(crowd: Crowd) -> None:
    """Active keys are counted by their written counts; of each workspace's keys an index finds what expired since."""
    counts = InstallationCounts(crowd.sandbox.database, crowd.sandbox.clock)
    [plan] = [plan for plan in _plans(crowd, counts.read) if "key_counts" in plan]
    assert re.search(EXPIRED_SINCE, plan), plan
    assert not re.search(r"(?:SCAN|Seq Scan on) api_keys\b|api_keys_by_expiry", plan), plan


def test_counts_are_settled_along_an_index(crowd: Crowd) -> None:
    """The search for counts that keys have expired from reads what has expired since, and no other key."""
    plans = _plans(crowd, ExpiredRows(crowd.sandbox.database, crowd.sandbox.clock).run)
    [plan] = [plan for plan in plans if "key_counts" in plan]
    assert re.search(EXPIRED_SINCE, plan), plan
    assert not re.search(r"(?:SCAN|Seq Scan on) api_keys\b", plan), plan


@pytest.mark.parametrize("name", ACTS)
def test_no_scans(crowd: Crowd, name: str) -> None:
    """No query about one workspace reads a table from end to end (R49, R58)."""
    for plan in _plans(crowd, lambda: ACTS[name](crowd)):
        assert _scans(plan) == [], plan


@pytest.mark.parametrize("name", ORDERED)
def test_no_sorting(crowd: Crowd, name: str) -> None:
    """A page comes in the order of its index: its cost does not grow with the table."""
    pages = [plan for plan in _plans(crowd, lambda: ACTS[name](crowd)) if "ORDER BY" in plan]
    assert pages
    for plan in pages:
        assert not re.search(r"Sort|TEMP B-TREE FOR ORDER BY", plan), plan


@pytest.mark.parametrize(
    ("name", "index", "condition"),
    [
        ("predecessor", "api_keys_predecessor", "rotated_to ="),
        ("events of a type", "events_by_type", "type "),
        ("revoked keys", "api_keys_revoked", "LIMIT"),
        ("overlap under a limit", "api_keys_overlapping", "rotated_to IS NOT NULL"),
        ("renewal", "api_keys_family", "family ="),
        ("silent keys", "api_keys_quiet", "quiet_seconds IS NOT NULL"),
        ("peppers at a start", "api_keys_by_pepper", "pepper_id"),
        ("a workspace by its name", "workspaces_by_name", "name ="),
        ("new events", "events_unplaced", "position IS NULL AND"),
        ("use of a workspace", "key_use_days_by_day", "sum("),
        ("use by workspace", "key_use_days_by_day", "sum("),
        ("keys of a creator", "api_keys_by_creator", "created_by_id ="),
        ("expires_at up, first page", "api_keys_by_end", "ORDER BY"),
        ("expires_at down, next page", "api_keys_by_end", "ORDER BY"),
        ("last_used_at down, next page", "key_use_by_time", "last_used_at <"),
        ("last_used_at down, first page", "key_use_by_time", "key_id DESC"),
    ],
)
def test_the_index_made_for_it(crowd: Crowd, name: str, index: str, condition: str) -> None:
    """A query with an index of its own uses it."""
    plans = [plan for plan in _plans(crowd, lambda: ACTS[name](crowd)) if condition in plan]
    assert plans
    for plan in plans:
        assert index in plan, plan


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        (
            "last_used_at down, next page",
            r"key_use_by_time .*last_used_at<\?|Cond: .*last_used_at <=",
        ),
        (
            "expires_at down, next page",
            r"api_keys_by_end .*<expr><\?|Cond: .*CASE WHEN .expires_at.* <=",
        ),
        (
            "expires_at up, next page",
            r"api_keys_by_end .*<expr>>\?|Cond: .*CASE WHEN .expires_at.* >=",
        ),
    ],
)
def test_a_sorted_list_continues_at_its_place_in_the_index(
    crowd: Crowd, name: str, begins: str
) -> None:
    """A further page costs what the first one costs: it begins where the page before it ended."""
    plans = [plan for plan in _plans(crowd, lambda: ACTS[name](crowd)) if "ORDER BY" in plan]
    assert re.search(begins, plans[-1]), plans[-1]


def listed(crowd: Crowd, wanted: KeyFilter = KeyFilter((KeyStatus.ACTIVE,))) -> None:  # noqa: B008 - immutable
    """Read a page of the list of keys, as people see it."""
    crowd.sandbox.services.key_lists.page(crowd.tenant, wanted, 50, None)


@pytest.mark.parametrize("order", KeyOrder)
def test_ordered_lists_read_the_keys_of_one_workspace(crowd: Crowd, order: KeyOrder) -> None:
    """A list in any order reads the newest keys of its workspace by their index, and no other key."""
    wanted = KeyFilter((KeyStatus.ACTIVE, KeyStatus.EXPIRED), order=order, creator="tests")
    [ordered] = [p for p in _plans(crowd, lambda: listed(crowd, wanted)) if "IN (SELECT" in p]
    assert re.search("api_keys_unrevoked|api_keys_by_age|api_keys_live", ordered), ordered
    assert "api_keys" not in _scans(ordered), ordered


def test_tabs_are_counted_by_their_indexes(crowd: Crowd) -> None:
    """Each number of the tabs comes from an index of its own."""
    [counted] = [p for p in _plans(crowd, lambda: listed(crowd)) if "api_keys_overlapping" in p]
    assert "api_keys_revoked" in counted, counted
    assert "api_keys" not in _scans(counted), counted


def test_key_hygiene_is_counted_among_the_workspaces_keys(crowd: Crowd) -> None:
    """The count reads the live keys of one workspace by their index; how it joins their use is the engine's choice."""
    [counted] = [p for p in _plans(crowd, lambda: listed(crowd)) if "UNUSED" in p]
    assert "api_keys_live" in counted
    assert "api_keys" not in _scans(counted)


def test_the_quota_is_read_and_not_counted(crowd: Crowd) -> None:
    """The number of keys is one row, plus an index of keys that expired since; active keys are not read."""
    plans = _plans(crowd, lambda: crowd.keys.list(crowd.tenant))
    counted = [plan for plan in plans if "count(" in plan]
    assert counted
    for plan in counted:
        assert "key_counts" in plan
        ended = r"COVERING INDEX api_keys_live .*expires_at>\? AND expires_at<\?"
        assert re.search(
            rf"{ended}|api_keys_live.*\n.*Index Cond: .*expires_at > .*expires_at <=", plan
        ), plan
