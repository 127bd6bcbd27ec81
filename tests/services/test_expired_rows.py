"""Expired rows are deleted, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keystead.domain.errors import Invalid
from keystead.domain.passwords import Password
from keystead.services.cleanup import BATCH, ExpiredRows
from keystead.storage.schema.tables import known_devices, sessions, sign_in_links, throttles
from tests.support.installations import SandboxInstallation
from tests.support.people import WRONG, People, email_of


def test_spent_links_and_old_sessions_are_forgotten(own_sandbox: SandboxInstallation) -> None:
    """A link is deleted a day after it expired, a session thirty days after it began; until then both stay."""
    services, clock = own_sandbox.services, own_sandbox.clock
    sweep = ExpiredRows(own_sandbox.database, clock).run
    secret, _ = services.sign_in.make_link(services.workspaces.first())
    services.sign_in.redeem(secret)
    assert sweep() == 0
    clock.advance(days=1, minutes=16)
    assert (sweep(), own_sandbox.count(sign_in_links), own_sandbox.count(sessions)) == (1, 0, 1)
    clock.advance(days=30)
    assert (sweep(), own_sandbox.count(sessions)) == (1, 0)


def test_more_than_a_batch_is_swept(own_sandbox: SandboxInstallation) -> None:
    """One sweep deletes all that is due, in any number of batches, and leaves what is not due."""
    services, clock = own_sandbox.services, own_sandbox.clock
    owner = services.workspaces.first()
    for _ in range(BATCH + 1):
        services.sign_in.make_link(owner)
    clock.advance(timedelta(days=2))
    services.sign_in.make_link(owner)
    assert ExpiredRows(own_sandbox.database, clock).run() == BATCH + 1
    assert own_sandbox.count(sign_in_links) == 1


def test_devices_and_wrong_passwords_are_forgotten(own_sandbox: SandboxInstallation) -> None:
    """A device is deleted 180 days after its last sign-in, a count of wrong passwords 90 days after the last."""
    people = People(own_sandbox)
    sweep = ExpiredRows(own_sandbox.database, own_sandbox.clock).run
    ada = people.owner()
    people.give_password(ada)
    with pytest.raises(Invalid):
        people.sign_in.with_password(email_of(ada), Password(WRONG), people.origin())
    own_sandbox.clock.advance(days=90)
    sweep()
    # One row each: the account's and the address's wrong password, and the user's try at a new one.
    assert own_sandbox.count(throttles) == 3
    own_sandbox.clock.advance(seconds=1)
    sweep()
    assert (own_sandbox.count(throttles), own_sandbox.count(known_devices)) == (0, 1)
    own_sandbox.clock.advance(days=90)
    sweep()
    assert own_sandbox.count(known_devices) == 0
