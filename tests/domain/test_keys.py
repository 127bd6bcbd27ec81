from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain import keys as rules
from keystead.domain import rotations
from keystead.domain.errors import (
    Forbidden,
    Invalid,
    KeyExpired,
    KeyRevoked,
    KeysteadError,
    RotationInProgress,
    WouldWiden,
)
from keystead.domain.ids import KeyId, UserId, WorkspaceId
from keystead.domain.keys import UNSET, ApiKey, KeyDraft, KeyPatch, KeyStatus
from keystead.domain.policies import NO_POLICY
from keystead.domain.principals import Principal, operator
from keystead.domain.scopes import BUILT_IN, FULL, KEYS_WRITE, ScopeCatalog, Scopes
from keystead.domain.workspaces import Member, Role, User
from tests.support.clocks import NOON
from tests.support.people import acting

WORKSPACE = WorkspaceId("ws_1")
CATALOG = ScopeCatalog({"invoices:read": "Read invoices"})
OPERATOR = operator("cli", WORKSPACE)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
NAMES = st.sampled_from([*BUILT_IN, "invoices:read"])
SETS = st.frozensets(NAMES, min_size=1).map(Scopes)
ENDS = st.none() | st.integers(1, 10**8).map(lambda seconds: NOON + timedelta(seconds=seconds))


def _caller(scopes: Scopes, expires_at: datetime | None = None) -> Principal:
    return Principal.of_key(KeyId("key_9"), "caller", WORKSPACE, scopes, expires_at)


def _member(role: Role, user: str = "usr_1") -> Principal:
    return acting(Member(WORKSPACE, User(UserId(user), "Ada", None, NOON), role))


def _key(
    scopes: Scopes = FULL,
    expires_at: datetime | None = None,
    revoked_at: datetime | None = None,
    rotated_to: str | None = None,
) -> ApiKey:
    return ApiKey(
        id=KeyId("key_1"),
        workspace_id=WORKSPACE,
        description="sync",
        hint="ks_…abcd",
        scopes=scopes,
        created_at=NOON,
        created_by=OPERATOR.actor,
        expires_at=expires_at,
        revoked_at=revoked_at,
        rotated_to=KeyId(rotated_to) if rotated_to else None,
    )


def _refusal(act: object) -> type[KeysteadError] | None:
    """Return the type of the error that `act` raises."""
    try:
        act()  # type: ignore[operator]
    except KeysteadError as error:
        return type(error)
    return None


# --- status and counting ---


@given(ENDS, st.none() | st.just(NOON), st.integers(0, 2 * 10**8))
def test_status(expires_at: datetime | None, revoked_at: datetime | None, passed: int) -> None:
    """A key is revoked, otherwise expired from its exact expiry on, otherwise active."""
    now = NOON + timedelta(seconds=passed)
    status = _key(expires_at=expires_at, revoked_at=revoked_at).status(now)
    if revoked_at is not None:
        assert status is KeyStatus.REVOKED
    else:
        expired = expires_at is not None and expires_at <= now
        assert status is (KeyStatus.EXPIRED if expired else KeyStatus.ACTIVE)


def test_what_counts() -> None:
    """Only active keys count towards the limit, and not those in the overlap of a rotation."""
    assert _key().counts(NOON)
    assert not _key(revoked_at=NOON).counts(NOON)
    assert not _key(expires_at=NOON).counts(NOON)
    assert not _key(rotated_to="key_2").counts(NOON)


# --- expiry ---


@pytest.mark.parametrize(
    "expires_at",
    [
        NOON,
        NOON - SECOND,
        NOON - timedelta(days=400),
        NOON + SECOND - timedelta(microseconds=1),
        (NOON + HOUR).replace(tzinfo=None),
    ],
)
def test_expiries_that_cannot_be_set(expires_at: datetime) -> None:
    """An expiry whose second is not later than now, or that has no time zone, is refused and never ignored."""
    for draft in (KeyDraft("sync", expires_at), KeyDraft("sync", expires_at, FULL)):
        with pytest.raises(Invalid) as refused:
            rules.grant(draft, OPERATOR, CATALOG, NO_POLICY, NOON)
        assert [error.pointer for error in refused.value.errors] == ["/expires_at"]
    assert _refusal(
        lambda: rules.apply_patch(
            _key(), KeyPatch(expires_at=expires_at), OPERATOR, CATALOG, NO_POLICY, NOON
        )
    )


@pytest.mark.parametrize(
    "expires_at",
    [
        NOON + SECOND,
        datetime(2028, 2, 29, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
        None,
    ],
)
def test_expiries_that_can_be_set(expires_at: datetime | None) -> None:
    """An expiry from the next second to the end of the year 9999 is kept exactly; null is never."""
    assert (
        rules.grant(KeyDraft("sync", expires_at), OPERATOR, CATALOG, NO_POLICY, NOON).expires_at
        == expires_at
    )


def test_a_naive_expiry_is_refused_in_words() -> None:
    """A time without a zone could be any of 26 hours: it is never read in the machine's zone."""
    with pytest.raises(Invalid, match="must have a time zone"):
        rules.grant(KeyDraft("sync", datetime(2099, 1, 1)), OPERATOR, CATALOG, NO_POLICY, NOON)  # noqa: DTZ001


# --- creation ---


def test_what_a_person_gives() -> None:
    """A key that a user creates without choices has `*` and never expires."""
    for person in (OPERATOR, _member(Role.OWNER), _member(Role.DEVELOPER)):
        granted = rules.grant(KeyDraft("sync"), person, CATALOG, NO_POLICY, NOON)
        assert (granted.scopes, granted.expires_at) == (FULL, None)


def test_what_a_key_gives() -> None:
    """A key that a key creates without choices has the caller's scopes without `keys:write`, and its expiry."""
    end = NOON + HOUR
    granted = rules.grant(
        KeyDraft("sync"),
        _caller(Scopes([KEYS_WRITE, "events:read"]), end),
        CATALOG,
        NO_POLICY,
        NOON,
    )
    assert (granted.scopes, granted.expires_at) == (Scopes(["events:read"]), end)


def test_a_key_with_no_scope_to_grant() -> None:
    """A key that only has `keys:write` must name the scopes to grant; no key without scopes is created."""
    with pytest.raises(Invalid):
        rules.grant(KeyDraft("sync"), _caller(Scopes([KEYS_WRITE])), CATALOG, NO_POLICY, NOON)
    draft = KeyDraft("sync", scopes=[KEYS_WRITE])
    assert set(
        rules.grant(draft, _caller(Scopes([KEYS_WRITE])), CATALOG, NO_POLICY, NOON).scopes
    ) == {KEYS_WRITE}


@given(SETS, ENDS, SETS, ENDS)
def test_no_key_makes_a_wider_one(
    held: Scopes, end: datetime | None, asked: Scopes, until: datetime | None
) -> None:
    """A key that a key creates is within its scopes and its lifetime, or it is refused (R55)."""
    draft = KeyDraft("child", until, asked)
    within = held.cover(asked) and (end is None or (until is not None and until <= end))
    try:
        granted = rules.grant(draft, _caller(held, end), CATALOG, NO_POLICY, NOON)
    except WouldWiden:
        assert not within
    else:
        assert within
        assert (granted.scopes, granted.expires_at) == (asked, until)


@given(SETS, ENDS)
def test_defaults_are_never_wider(held: Scopes, end: datetime | None) -> None:
    """A key that a key creates without choices never manages keys, and never outlives it."""
    if _refusal(
        lambda: rules.grant(KeyDraft("child"), _caller(held, end), CATALOG, NO_POLICY, NOON)
    ):
        assert set(held) == {KEYS_WRITE}
        return
    granted = rules.grant(KeyDraft("child"), _caller(held, end), CATALOG, NO_POLICY, NOON)
    assert held.cover(granted.scopes)
    assert not granted.scopes.permit(KEYS_WRITE)
    assert granted.expires_at == end


def test_a_developers_keys_do_not_manage_keys() -> None:
    """A developer can't create a key that manages other people's keys."""
    draft = KeyDraft("sync", scopes=[KEYS_WRITE])
    assert (
        _refusal(lambda: rules.grant(draft, _member(Role.DEVELOPER), CATALOG, NO_POLICY, NOON))
        is WouldWiden
    )
    assert (
        _refusal(lambda: rules.grant(draft, _member(Role.ADMIN), CATALOG, NO_POLICY, NOON)) is None
    )


def test_unknown_scopes_are_pointed_at() -> None:
    """Each unknown scope is named by its position in the request, and its text is not repeated."""
    draft = KeyDraft("sync", scopes=["events:read", "zzz:zzz", "documents:read", "aaa:aaa"])
    with pytest.raises(Invalid) as refused:
        rules.grant(draft, OPERATOR, CATALOG, NO_POLICY, NOON)
    assert [error.pointer for error in refused.value.errors] == ["/scopes/1", "/scopes/3"]
    assert "zzz" not in str(refused.value)


@pytest.mark.parametrize("scopes", [[], ["events:read"] * 51])
def test_how_many_scopes(scopes: list[str]) -> None:
    """A request has 1-50 scopes: an empty list means neither all nor none."""
    with pytest.raises(Invalid) as refused:
        rules.grant(KeyDraft("sync", scopes=scopes), OPERATOR, CATALOG, NO_POLICY, NOON)
    assert [error.pointer for error in refused.value.errors] == ["/scopes"]


# --- change ---


@given(SETS, SETS)
def test_scopes_only_shrink(held: Scopes, asked: Scopes) -> None:
    """No principal, not even an operator, can widen a key's scopes."""
    patch = KeyPatch(scopes=asked)
    widened = _refusal(
        lambda: rules.apply_patch(_key(held), patch, OPERATOR, CATALOG, NO_POLICY, NOON)
    )
    assert (widened is WouldWiden) == (not held.cover(asked))


@given(SETS, ENDS, SETS, ENDS, SETS, ENDS)
def test_no_key_changes_beyond_itself(
    held: Scopes,
    end: datetime | None,
    target: Scopes,
    target_end: datetime | None,
    asked: Scopes,
    until: datetime | None,
) -> None:
    """After a key changes another, that key is within its own scopes and its own lifetime."""
    principal, patch = _caller(held, end), KeyPatch(scopes=asked, expires_at=until)
    try:
        changed = rules.apply_patch(
            _key(target, target_end), patch, principal, CATALOG, NO_POLICY, NOON
        )
    except WouldWiden:
        return
    assert held.cover(changed.scopes)
    assert target.cover(changed.scopes)
    assert end is None or (changed.expires_at is not None and changed.expires_at <= end)


def test_absent_fields_stay() -> None:
    """Fields that are absent from a patch are unchanged, and an empty patch changes nothing."""
    before = _key(Scopes(["events:read"]), NOON + HOUR)
    assert rules.apply_patch(before, KeyPatch(), OPERATOR, CATALOG, NO_POLICY, NOON) == before
    described = rules.apply_patch(
        before, KeyPatch(description="other"), OPERATOR, CATALOG, NO_POLICY, NOON
    )
    assert described == replace(before, description="other")


def test_null_is_never() -> None:
    """A patch with a null expiry lets the key work for ever."""
    changed = rules.apply_patch(
        _key(expires_at=NOON + HOUR), KeyPatch(expires_at=None), OPERATOR, CATALOG, NO_POLICY, NOON
    )
    assert changed.expires_at is None


def test_the_same_expiry_is_no_change() -> None:
    """Sending a key's own expiry again isn't a change, even if it could no longer be chosen."""
    odd = _key(expires_at=NOON + HOUR + timedelta(microseconds=7))
    for now in (NOON, NOON + 2 * HOUR):
        patch = KeyPatch(expires_at=odd.expires_at)
        assert rules.apply_patch(odd, patch, OPERATOR, CATALOG, NO_POLICY, now) == odd


@pytest.mark.parametrize("fraction", [1, 500_000, 999_999])
def test_a_fraction_of_a_second_is_rounded_down(fraction: int) -> None:
    """Created, changed or rotated, a key expires at a whole second; sending the same second again isn't a change."""
    chosen, whole = NOON + HOUR + timedelta(microseconds=fraction), NOON + HOUR
    changed = rules.apply_patch(
        _key(), KeyPatch(expires_at=chosen), OPERATOR, CATALOG, NO_POLICY, NOON
    )
    assert changed.expires_at == whole
    assert (
        rules.grant(KeyDraft("sync", chosen), OPERATOR, CATALOG, NO_POLICY, NOON).expires_at
        == whole
    )
    assert _rotation(_key(), expires_at=chosen).successor.expires_at == whole
    for now in (NOON, NOON + 2 * HOUR):
        patch = KeyPatch(expires_at=chosen)
        assert rules.apply_patch(changed, patch, OPERATOR, CATALOG, NO_POLICY, now) == changed


def test_a_revoked_key_cannot_be_changed() -> None:
    """Revocation is final: no field of a revoked key changes."""
    ended = _key(revoked_at=NOON)
    for patch in (KeyPatch("other"), KeyPatch(expires_at=None), KeyPatch(scopes=["events:read"])):
        assert (
            _refusal(
                lambda patch=patch: rules.apply_patch(
                    ended, patch, OPERATOR, CATALOG, NO_POLICY, NOON
                )
            )
            is KeyRevoked
        )


def test_an_expired_key_can_be_described() -> None:
    """An expired key can be described, but neither extended nor narrowed: its expiry is final."""
    ended = _key(expires_at=NOON)
    later = NOON + HOUR
    assert (
        rules.apply_patch(ended, KeyPatch("old"), OPERATOR, CATALOG, NO_POLICY, NOON).description
        == "old"
    )
    for patch in (KeyPatch(expires_at=later), KeyPatch(expires_at=None)):
        assert (
            _refusal(
                lambda patch=patch: rules.apply_patch(
                    ended, patch, OPERATOR, CATALOG, NO_POLICY, NOON
                )
            )
            is KeyExpired
        )


def test_an_overlap_cannot_be_made_longer() -> None:
    """A rotated key's overlap can be shortened, and never extended."""
    old = _key(expires_at=NOON + HOUR, rotated_to="key_2")
    for patch in (KeyPatch(expires_at=NOON + 2 * HOUR), KeyPatch(expires_at=None)):
        assert (
            _refusal(
                lambda patch=patch: rules.apply_patch(
                    old, patch, OPERATOR, CATALOG, NO_POLICY, NOON
                )
            )
            is RotationInProgress
        )
    cut = rules.apply_patch(
        old, KeyPatch(expires_at=NOON + SECOND), OPERATOR, CATALOG, NO_POLICY, NOON
    )
    assert cut.expires_at == NOON + SECOND


def test_a_developer_changes_only_their_own() -> None:
    """A developer changes the keys that they created, an admin every key."""
    own = replace(_key(), created_by=_member(Role.DEVELOPER).actor)
    rules.require_manager(_member(Role.DEVELOPER), own)
    rules.require_manager(_member(Role.ADMIN, "usr_2"), own)
    with pytest.raises(Forbidden):
        rules.require_manager(_member(Role.DEVELOPER, "usr_2"), own)


# --- rotation ---


def _rotation(
    old: ApiKey,
    overlap: timedelta = timedelta(),
    expires_at: datetime | rules.Unset | None = UNSET,
    principal: Principal = OPERATOR,
    now: datetime = NOON,
) -> rotations.Rotation:
    return rotations.plan_rotation(old, overlap, expires_at, principal, NO_POLICY, now)


def test_without_overlap_the_old_key_ends_now() -> None:
    """Without an overlap the old key is revoked when its successor begins."""
    planned = _rotation(_key(Scopes(["events:read"])))
    assert planned.revoke_now
    assert planned.successor == rules.KeyGrant("sync", None, Scopes(["events:read"]))


@given(ENDS, st.integers(1, 604_800))
def test_an_overlap_ends(end: datetime | None, seconds: int) -> None:
    """The old key ends after its overlap, or at its own expiry if that comes first."""
    overlap = timedelta(seconds=seconds)
    planned = _rotation(_key(expires_at=end), overlap)
    assert not planned.revoke_now
    assert planned.old_expires_at == min(filter(None, [end, NOON + overlap]))


@pytest.mark.parametrize("seconds", [-1, 604_801])
def test_overlaps_that_cannot_be(seconds: int) -> None:
    """An overlap is between zero and seven days."""
    with pytest.raises(Invalid) as refused:
        _rotation(_key(), timedelta(seconds=seconds))
    assert [error.pointer for error in refused.value.errors] == ["/overlap_seconds"]


@given(st.integers(1, 10**8), st.integers(0, 10**8))
def test_a_successor_lives_as_long(life: int, passed: int) -> None:
    """By default the successor gets the old key's lifetime, counted from now."""
    now = NOON + timedelta(seconds=min(passed, life - 1))
    planned = _rotation(_key(expires_at=NOON + timedelta(seconds=life)), now=now)
    assert planned.successor.expires_at == now + timedelta(seconds=life)


@given(st.integers(1, 10**8), st.integers(0, 999_999), st.integers(1, 604_800))
def test_a_rotation_gives_whole_seconds(life: int, fraction: int, overlap: int) -> None:
    """Whatever the microsecond of the rotation, both keys end at whole seconds, and later than now."""
    now = NOON + timedelta(microseconds=fraction)
    planned = _rotation(_key(expires_at=NOON + timedelta(seconds=life)), SECOND * overlap, now=now)
    for end in (planned.successor.expires_at, planned.old_expires_at):
        assert end is not None
        assert end > now
        assert end.microsecond == 0


def test_a_successor_of_the_longest_life() -> None:
    """A lifetime beyond the end of the calendar ends there."""
    planned = _rotation(_key(expires_at=rules.MAX_EXPIRY), now=NOON + HOUR)
    assert planned.successor.expires_at == rules.MAX_EXPIRY


def test_a_chosen_expiry() -> None:
    """A chosen expiry is the successor's; null is never; an invalid one is refused."""
    assert _rotation(_key(), expires_at=NOON + HOUR).successor.expires_at == NOON + HOUR
    assert _rotation(_key(expires_at=NOON + HOUR), expires_at=None).successor.expires_at is None
    with pytest.raises(Invalid):
        _rotation(_key(), expires_at=NOON)


@pytest.mark.parametrize(
    ("old", "refused"),
    [
        (_key(revoked_at=NOON), KeyRevoked),
        (_key(expires_at=NOON), KeyExpired),
        (_key(rotated_to="key_2", expires_at=NOON + HOUR), RotationInProgress),
        (_key(rotated_to="key_2", revoked_at=NOON), KeyRevoked),
    ],
    ids=["revoked", "expired", "rotated", "rotated and revoked"],
)
def test_keys_that_cannot_be_rotated(old: ApiKey, refused: type[KeysteadError]) -> None:
    """A key that has ended, or that has a successor, is not rotated."""
    for overlap in (timedelta(), HOUR):
        assert _refusal(lambda overlap=overlap: _rotation(old, overlap)) is refused


@given(SETS, ENDS, SETS, ENDS)
def test_no_key_rotates_beyond_itself(
    held: Scopes, end: datetime | None, target: Scopes, until: datetime | None
) -> None:
    """A successor that a key creates is within that key's scopes and expiry."""
    try:
        planned = _rotation(_key(target), HOUR, until, _caller(held, end))
    except WouldWiden:
        return
    assert held.cover(planned.successor.scopes)
    assert end is None or (until is not None and until <= end)


# --- search ---


LETTERS = st.sampled_from(
    "ae\u00e9\u0301\u0327ßΣ\ufb01\u1112\u1161%_"
)  # some compose with one another


@given(st.text(LETTERS, max_size=6) | st.text(max_size=10))
def test_every_part_is_found(text: str) -> None:
    """Every part of a text is a part of its folded form, in any script, even between a letter and its marks."""
    folded = rules.fold_for_search(text)
    for begin, end in combinations(range(len(text) + 1), 2):
        assert rules.fold_for_search(text[begin:end]) in folded


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Data-Warehouse Sync", "data-warehouse sync"),
        ("STRASSE", "straße"),
        ("caf\u00e9", "cafe\u0301"),
        ("ﬁnance", "FIN"),
        ("\uff21\uff22\uff23", "abc"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    ],
)
def test_case_and_form_do_not_matter(text: str, query: str) -> None:
    """Search ignores how text was typed: upper or lower case, composed or not, wide or narrow."""
    assert rules.fold_for_search(query) in rules.fold_for_search(text)
