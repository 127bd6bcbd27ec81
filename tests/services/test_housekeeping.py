"""What nobody will ask for again is forgotten, and nothing else."""

from __future__ import annotations

from datetime import timedelta

from keystead.services.housekeeping import BATCH, Housekeeping
from keystead.storage.schema import sessions, sign_in_links
from tests.installations import Ground


def test_spent_links_and_old_sessions_are_forgotten(own_ground: Ground) -> None:
    """A link goes a day after it expired, a session thirty days after it began; until then both stay."""
    services, clock = own_ground.services, own_ground.clock
    sweep = Housekeeping(own_ground.database, clock).sweep
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
    assert Housekeeping(own_ground.database, clock).sweep() == BATCH + 1
    assert own_ground.count(sign_in_links) == 1
