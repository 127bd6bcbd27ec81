"""Lists of keys, filtered and sorted: every one agrees with the rules in Python, page by page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import pytest

from keystead.domain.errors import Invalid, InvalidCursor
from keystead.domain.ids import KeyId
from keystead.domain.key_lists import KeySelection, KeySort, parse_days
from keystead.domain.keys import MAX_EXPIRY, ApiKey, KeyDraft, KeyStatus
from keystead.domain.policies import Policy
from keystead.domain.principals import Principal, operator
from keystead.domain.renewals import Renewal
from tests.support.clocks import NOON
from tests.support.installations import ENGINES, SandboxInstallation, fresh_sandbox

DAY = timedelta(days=1)
LIFETIMES = (None, 5 * DAY, 40 * DAY, 40 * DAY, 90 * DAY, 400 * DAY)
STRICT = Policy(max_lifetime_days=90, expiry_required=True, renewal_allowed=False)


@dataclass
class Crowd:
    """A workspace with keys of every kind, and another one like it."""

    sandbox: SandboxInstallation
    tenant: Principal
    other: Principal
    keys: list[ApiKey]
    now: datetime

    def listed(self, wanted: KeySelection, limit: int = 7) -> list[KeyId]:
        """Return the ids of a whole list, page by page."""
        ids: list[KeyId] = []
        after = None
        while True:
            page = self.sandbox.services.keys.list(self.tenant, wanted, limit=limit, after=after)
            ids += [key.id for key in page.items]
            after = page.next
            if after is None:
                return ids
            assert len(page.items) == limit


@pytest.fixture(scope="module", params=ENGINES)
def crowd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> object:
    """Fifty keys, created over 60 days by two people: used or not, ended or not, renewable or not."""
    with fresh_sandbox(request, tmp_path_factory, request.param) as sandbox:
        tenant, draws = sandbox.tenant(), Random(7)
        other = sandbox.tenant()
        bo = operator("bo", tenant.workspace_id, id="bo")
        services, made = sandbox.services, []
        for number in range(50):
            sandbox.clock.advance(DAY * draws.choice([0, 1, 2]) + timedelta(microseconds=3))
            lifetime = LIFETIMES[number % len(LIFETIMES)]
            end = (
                None
                if lifetime is None
                else (sandbox.clock.now() + lifetime).replace(microsecond=0)
            )
            renewal = Renewal(draws.choice([None, MAX_EXPIRY])) if number % 5 == 0 else None
            draft = KeyDraft(f"key {number}", end, ["documents:read"], renewal=renewal)
            created = services.keys.create([tenant, bo][number % 2], draft)
            made.append(created)
            sandbox.key(other)
        for created in draws.sample(made, 30):
            sandbox.clock.advance(timedelta(minutes=draws.choice([0, 1, 600])))
            sandbox.verify(created)
            sandbox.flush()
        for created in draws.sample(made, 8):
            services.keys.revoke(tenant, created.key.id)
        sandbox.clock.advance(20 * DAY)
        keys = [services.keys.get(tenant, created.key.id) for created in made]
        yield Crowd(sandbox, tenant, other, keys, sandbox.clock.now())


def _last_use(key: ApiKey) -> datetime:
    return key.last_use.at if key.last_use else key.created_at


FILTERS: dict[str, tuple[KeySelection, Callable[[ApiKey, datetime], bool]]] = {
    "all": (KeySelection(), lambda k, now: True),
    "created by": (KeySelection(created_by="bo"), lambda k, now: k.created_by.id == "bo"),
    "created by a stranger": (KeySelection(created_by="zoe"), lambda k, now: False),
    "unused": (
        KeySelection(unused_for=30 * DAY),
        lambda k, now: _last_use(k) <= now - 30 * DAY,
    ),
    "expiring": (
        KeySelection(expiring_within=14 * DAY),
        lambda k, now: (
            k.status(now) is KeyStatus.ACTIVE
            and k.expires_at is not None
            and k.expires_at <= now + 14 * DAY
        ),
    ),
    "outside a policy": (
        KeySelection(outside=STRICT),
        lambda k, now: (
            k.expires_at is None or k.expires_at - k.created_at > 90 * DAY or k.renewal is not None
        ),
    ),
    "outside one that says nothing": (KeySelection(outside=Policy()), lambda k, now: False),
    "together": (
        KeySelection(KeyStatus.ACTIVE, "key", created_by="bo", unused_for=20 * DAY, outside=STRICT),
        lambda k, now: (
            k.status(now) is KeyStatus.ACTIVE
            and k.created_by.id == "bo"
            and _last_use(k) <= now - 20 * DAY
            and (
                k.expires_at is None
                or k.expires_at - k.created_at > 90 * DAY
                or k.renewal is not None
            )
        ),
    ),
}
NEVER = MAX_EXPIRY + DAY * 0
ORDERS: dict[KeySort, Callable[[ApiKey], tuple[object, KeyId]]] = {
    KeySort.CREATED_AT: lambda k: (k.created_at, k.id),
    KeySort.LAST_USED_AT: lambda k: (
        k.last_use.at if k.last_use else datetime.min.replace(tzinfo=NOON.tzinfo),
        k.id,
    ),
    KeySort.EXPIRES_AT: lambda k: (k.expires_at or datetime.max.replace(tzinfo=NOON.tzinfo), k.id),
}


@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("sort", KeySort)
@pytest.mark.parametrize("name", FILTERS)
def test_a_list_has_the_keys_of_its_rule_in_order(
    crowd: Crowd, name: str, sort: KeySort, ascending: bool
) -> None:
    """Each filter and order gives exactly the workspace's keys that the rule in Python gives, without repeats."""
    wanted, applies = FILTERS[name]
    wanted = KeySelection(
        wanted.status,
        wanted.query,
        created_by=wanted.created_by,
        unused_for=wanted.unused_for,
        expiring_within=wanted.expiring_within,
        outside=wanted.outside,
        sort=sort,
        ascending=ascending,
    )
    expected = sorted(
        (key for key in crowd.keys if applies(key, crowd.now)),
        key=ORDERS[sort],
        reverse=not ascending,
    )
    ids = [key.id for key in expected]
    assert crowd.listed(wanted) == ids
    assert crowd.listed(wanted, limit=1) == ids
    if name not in {"created by a stranger", "outside one that says nothing"}:
        assert len(ids) > 1


@pytest.mark.parametrize("status", KeyStatus)
def test_filters_combine_with_every_status(crowd: Crowd, status: KeyStatus) -> None:
    """A status narrows any other filter."""
    wanted = KeySelection(status, unused_for=15 * DAY, sort=KeySort.LAST_USED_AT, ascending=True)
    expected = {
        key.id
        for key in crowd.keys
        if key.status(crowd.now) is status and _last_use(key) <= crowd.now - 15 * DAY
    }
    assert expected
    assert set(crowd.listed(wanted)) == expected


def test_the_policy_of_the_workspace_decides(sandbox: SandboxInstallation) -> None:
    """`outside_policy` lists what the layers together would not allow now, of any status."""
    tenant, services = sandbox.tenant(), sandbox.services
    endless, brief, long, renewable = (
        sandbox.key(tenant, expires_at=end, renewal=renewal).key.id
        for end, renewal in (
            (None, None),
            (NOON + 20 * DAY, None),
            (NOON + 31 * DAY, None),
            (NOON + 20 * DAY, Renewal()),
        )
    )

    def outside(status: KeyStatus | None = None) -> list[KeyId]:
        page = services.keys.list(tenant, KeySelection(status), outside_policy=True)
        return [key.id for key in page.items]

    assert outside() == []
    services.policies.replace_owners(tenant, Policy(expiry_required=True))
    assert outside() == [endless]
    operators = Policy(max_lifetime_days=30, renewal_allowed=False)
    services.policies.replace_operators(tenant.workspace_id, operators, tenant.actor)
    assert outside() == [renewable, long, endless]
    services.keys.revoke(tenant, long)
    assert outside(KeyStatus.ACTIVE) == [renewable, endless]
    assert outside(KeyStatus.REVOKED) == [long]
    assert brief not in outside()


def test_a_list_shows_the_values_at_each_page(sandbox: SandboxInstallation) -> None:
    """A key that is used between two pages moves to its new place: it is not lost, and no other key is."""
    tenant = sandbox.tenant()
    made = [sandbox.key(tenant) for _ in range(6)]
    wanted = KeySelection(sort=KeySort.LAST_USED_AT, ascending=True)
    first = sandbox.services.keys.list(tenant, wanted, limit=3)
    assert [key.id for key in first.items] == [created.key.id for created in made[:3]]
    sandbox.verify(made[4])
    sandbox.flush()
    rest = sandbox.services.keys.list(tenant, wanted, limit=10, after=first.next)
    assert [key.id for key in rest.items] == [made[place].key.id for place in (3, 5, 4)]
    assert rest.next is None


@pytest.mark.parametrize(
    ("sort", "after"),
    [
        (KeySort.CREATED_AT, "key_1"),
        (KeySort.CREATED_AT, "5:key_0000000000000000000000"),
        (KeySort.EXPIRES_AT, "key_0000000000000000000000"),
        (KeySort.EXPIRES_AT, ":key_0000000000000000000000"),
        (KeySort.EXPIRES_AT, "-1:key_0000000000000000000000"),
        (KeySort.LAST_USED_AT, "²:key_0000000000000000000000"),
        (KeySort.LAST_USED_AT, "9223372036854775808:key_0000000000000000000000"),
        (KeySort.LAST_USED_AT, f"{'9' * 5000}:key_0000000000000000000000"),
    ],
)
def test_a_position_of_another_form_is_refused(
    sandbox: SandboxInstallation, sort: KeySort, after: str
) -> None:
    """A forged position is an invalid cursor, and never reaches the database."""
    with pytest.raises(InvalidCursor):
        sandbox.services.keys.list(sandbox.tenant(), KeySelection(sort=sort), after=after)


def test_durations_are_days() -> None:
    """Durations have 1-4 digits, no leading zero, and the unit."""
    assert parse_days("1d", "query:x") == DAY
    assert parse_days("9999d", "query:x") == 9999 * DAY
    for text in ("0d", "01d", "10000d", "30", "d", "-1d", "1.5d", "30 d", "30D", "30d\n", "٣d", ""):
        with pytest.raises(Invalid):
            parse_days(text, "query:x")
