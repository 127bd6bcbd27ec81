from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain.digest import Pepper, Peppers
from keystead.domain.ids import WorkspaceId
from keystead.domain.instants import from_microseconds
from keystead.domain.networks import Networks
from keystead.domain.principals import PrincipalKind
from keystead.domain.renewals import Renewal
from keystead.domain.token import assemble
from keystead.domain.verification import DenialReason, Denied, KeyRecord, Verified, judge

NOW = 1_000_000
PEPPERS = Peppers(Pepper("one", bytes(range(32))))
TOKEN = assemble("ks", 1, bytes(range(32)))
STRANGER = assemble("ks", 1, bytes(range(1, 33)))
LIVE = KeyRecord(
    workspace_id="ws_1",
    description="sync",
    pepper_id="one",
    digest=PEPPERS.seal(TOKEN).value,
    scopes="documents:read documents:write",
    expires_at=None,
    revoked_at=None,
    extras=None,
    suspended_at=None,
)
NETWORK = "192.0.2.0/24\n{}\n\n"
INSIDE, OUTSIDE = "192.0.2.7", "198.51.100.7"


@dataclass(frozen=True)
class State:
    """Each way a record can end, reached or not."""

    revoked: bool
    expired: bool
    suspended: bool
    outside: bool

    def record(self) -> KeyRecord:
        """Return the record in that state."""
        return LIVE._replace(
            revoked_at=1 if self.revoked else None,
            expires_at=NOW if self.expired else NOW + 1,
            suspended_at=1 if self.suspended else None,
            extras=NETWORK,
        )

    @property
    def source(self) -> str:
        """The address of the caller."""
        return OUTSIDE if self.outside else INSIDE


STATES = [State(*bits) for bits in product([False, True], repeat=4)]


@pytest.mark.parametrize("state", STATES, ids=str)
@pytest.mark.parametrize("required", [None, "documents:read", "keys:write"])
def test_order_of_reasons(state: State, required: str | None) -> None:
    """The first reason counts: revoked, expired, suspended, then the network, then the missing scope."""
    if state.revoked:
        reason = DenialReason.REVOKED
    elif state.expired:
        reason = DenialReason.EXPIRED
    elif state.suspended:
        reason = DenialReason.SUSPENDED
    elif state.outside:
        reason = DenialReason.NETWORK
    elif required == "keys:write":
        reason = DenialReason.INSUFFICIENT_SCOPE
    else:
        verdict = judge(TOKEN, state.record(), required, NOW, PEPPERS, state.source)
        assert isinstance(verdict, Verified)
        return
    verdict = judge(TOKEN, state.record(), required, NOW, PEPPERS, state.source)
    assert verdict == Denied(reason, TOKEN.key_id, WorkspaceId("ws_1"))


@pytest.mark.parametrize("state", STATES, ids=str)
def test_a_stranger_learns_nothing(state: State) -> None:
    """With a key's id but not its secret, an active, an ended and an absent key look the same."""
    verdict = judge(STRANGER, state.record(), "keys:write", NOW, PEPPERS, state.source)
    assert verdict == judge(STRANGER, None, None, NOW, PEPPERS) == Denied(DenialReason.UNKNOWN)


@pytest.mark.parametrize(
    ("networks", "source", "admitted"),
    [
        ("", None, True),
        ("", OUTSIDE, True),
        ("192.0.2.0/24", None, False),
        ("192.0.2.0/24", "", False),
        ("192.0.2.0/24", "socket", False),
        ("192.0.2.0/24", "192.0.2.255", True),
        ("192.0.2.0/24", "192.0.3.0", False),
        ("192.0.2.0/24", "::ffff:192.0.2.7", True),
        ("192.0.2.0/24", "::192.0.2.7", False),
        ("192.0.2.0/24", "2001:db8::1", False),
        ("192.0.2.7/32 2001:db8::/32", "2001:db8::1", True),
        ("192.0.2.7/32 2001:db8::/32", "192.0.2.8", False),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("::/0", "192.0.2.7", False),
        ("::/0", "::ffff:192.0.2.7", False),
        ("::/0", None, False),
    ],
)
def test_a_key_works_from_its_networks_alone(
    networks: str, source: str | None, admitted: bool
) -> None:
    """An address that isn't known, or isn't one, is in no network; a mapped one counts as IPv4."""
    verdict = judge(
        TOKEN, LIVE._replace(extras=f"{networks}\n{{}}\n\n"), None, NOW, PEPPERS, source
    )
    assert isinstance(verdict, Verified) == admitted


def test_no_pepper_no_verification() -> None:
    """A record under an unknown pepper verifies nothing."""
    assert judge(TOKEN, LIVE._replace(pepper_id="two"), None, NOW, PEPPERS) == Denied(
        DenialReason.UNKNOWN
    )


@given(st.integers(0, 2 * NOW), st.integers(0, 2 * NOW))
def test_expiry_is_exact(expires_at: int, now: int) -> None:
    """A key is refused from the exact microsecond of its expiry on, and not before (R38)."""
    verdict = judge(TOKEN, LIVE._replace(expires_at=expires_at), None, now, PEPPERS)
    assert isinstance(verdict, Denied) == (now >= expires_at)


def test_the_principal_is_the_key() -> None:
    """The principal is the key itself: its ID, its workspace, its scopes, its expiry, its networks and labels."""
    record = LIVE._replace(
        expires_at=NOW + 1,
        extras=f'192.0.2.0/24\n{{"customer":"42"}}\n{NOW + 2}\nkey_2',
    )
    verdict = judge(TOKEN, record, "documents:write", NOW, PEPPERS, INSIDE)
    assert isinstance(verdict, Verified)
    principal = verdict.principal
    assert (principal.kind, principal.id, principal.name) == (
        PrincipalKind.KEY,
        TOKEN.key_id,
        "sync",
    )
    assert principal.workspace_id == "ws_1"
    assert str(principal.scopes) == LIVE.scopes
    assert principal.expires_at == from_microseconds(NOW + 1)
    assert principal.role is None
    assert (principal.networks, principal.metadata) == (
        Networks("192.0.2.0/24"),
        {"customer": "42"},
    )
    assert principal.renewal == Renewal(from_microseconds(NOW + 2))
    assert verdict.is_first_use


def test_a_record_is_never_shown() -> None:
    """No text form of a stored record shows its digest."""
    for text in (repr(LIVE), str(LIVE), f"{LIVE}", repr([LIVE]), "%s" % (LIVE,)):  # noqa: UP031
        assert repr(LIVE.digest)[2:-1] not in text
        assert LIVE.digest.hex() not in text
        assert LIVE.workspace_id in text
