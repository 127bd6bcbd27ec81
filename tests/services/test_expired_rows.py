"""Expired rows are deleted, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keystead.domain.errors import Invalid
from keystead.domain.passwords import Password
from keystead.services.cleanup import BATCH, ExpiredRows
from keystead.storage.schema.tables import known_devices, sessions, sign_in_links, throttles
from tests.installations import Ground
from tests.people import WRONG, Crowd, email_of


def test_spent_links_and_old_sessions_are_forgotten(own_ground: Ground) -> None:
    """A link goes a day after it expired, a session thirty days after it began; until then both stay."""
    services, clock = own_ground.services, own_ground.clock
    sweep = ExpiredRows(own_ground.database, clock).run
    secret, _ = services.sign_in.make_link(services.workspaces.first())
    services.sign_in.redeem(secret)
    assert sweep() == 0
    clock.advance(days=1, minutes=16)
    assert (sweep(), own_ground.count(sign_in_links), own_ground.count(sessions)) == (1, 0, 1)
    clock.advance(days=30)
    assert (sweep(), own_ground.count(sessions)) == (1, 0)


def test_more_than_a_batch_is_swept(own_ground: Ground) -> None:
    """One sweep forgets all that is due, however many batches that takes, and leaves what is not due."""
    services, clock = own_ground.services, own_ground.clock
    owner = services.workspaces.first()
    for _ in range(BATCH + 1):
        services.sign_in.make_link(owner)
    clock.advance(timedelta(days=2))
    services.sign_in.make_link(owner)
    assert ExpiredRows(own_ground.database, clock).run() == BATCH + 1
    assert own_ground.count(sign_in_links) == 1


def test_devices_and_wrong_passwords_are_forgotten(own_ground: Ground) -> None:
    """A device goes 180 days after its last sign-in, a count of wrong passwords 90 days after the last of them."""
    crowd = Crowd(own_ground)
    sweep = ExpiredRows(own_ground.database, own_ground.clock).run
    ada = crowd.owner()
    crowd.give_password(ada)
    with pytest.raises(Invalid):
        crowd.sign_in.with_password(email_of(ada), Password(WRONG), crowd.origin())
    own_ground.clock.advance(days=90)
    sweep()
    # The account's and the address's wrong password, and the tries at a new password that the person has used.
    assert own_ground.count(throttles) == 3
    own_ground.clock.advance(seconds=1)
    sweep()
    assert (own_ground.count(throttles), own_ground.count(known_devices)) == (0, 1)
    own_ground.clock.advance(days=90)
    sweep()
    assert own_ground.count(known_devices) == 0
