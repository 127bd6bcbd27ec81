"""The experiments by name, their sizes, and where they are run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final

from keystead_prove import away as aways
from keystead_prove import clock as clocks
from keystead_prove import kill as kills
from keystead_prove import limit as limits
from keystead_prove import restart as restarts
from keystead_prove import revocation
from keystead_prove.acts import REVOKED
from keystead_prove.fault_proxy import Breaker
from keystead_prove.finding import Finding
from keystead_prove.servers import Own
from keystead_prove.target import Operator, Site

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Shows how something of that title and size goes on: given steps."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is tried: keys revoked, keys for each other act, verifications in flight, rounds of the others."""

    keys: int = 200
    keys_each: int = 25
    in_flight: int = 12
    rounds: int = 5
    kills: int = 3
    restarts: int = 1
    seconds: float = 4.0
    processes: int = 2


QUICK: Final = Sizes()
FULL: Final = Sizes(
    keys=10_000, keys_each=500, in_flight=200, rounds=50, kills=200, restarts=10, seconds=30.0
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A site and its operator; its `servers` and the `breaker` before their database, where they are its own."""

    site: Site
    operator: Operator
    servers: Sequence[Own] = field(default_factory=tuple)
    breaker: Breaker | None = None


def revoke(scene: Scene, sizes: Sizes, progress: Progress) -> Iterator[Finding]:
    """Every act that ends a key; and revocation once more with many verifications on their way."""
    for act in revocation.acts_of(scene.site):
        keys = sizes.keys if act is REVOKED else sizes.keys_each
        with progress(act.says, keys) as tell:
            found = revocation.run(
                scene.site, act, keys, scene.operator, processes=sizes.processes, tell=tell
            )
        yield found
    each = -(-sizes.in_flight // len(scene.site.doors))
    with progress("many in flight", sizes.keys_each) as tell:
        found = revocation.run(
            scene.site, REVOKED, sizes.keys_each, scene.operator, each=each, processes=1, tell=tell
        )
    yield found


def limit(scene: Scene, sizes: Sizes, progress: Progress) -> Iterator[Finding]:
    """As many keys as a plan allows."""
    with progress("creations at once", sizes.rounds) as tell:
        found = limits.run(scene.site, scene.operator, sizes.rounds, tell)
    yield found


def clock(scene: Scene, sizes: Sizes, progress: Progress) -> Iterator[Finding]:
    """Ends by the clock."""
    with progress("ends by the clock", sizes.rounds) as tell:
        found = clocks.run(scene.site, scene.operator, sizes.rounds, tell)
    yield found


def kill(scene: Scene, sizes: Sizes, progress: Progress) -> Iterator[Finding]:
    """Servers killed at work."""
    with progress("kills", sizes.kills) as tell:
        found = kills.run(scene.site, scene.servers, sizes.kills, tell)
    yield found


def restart(scene: Scene, sizes: Sizes, progress: Progress) -> Iterator[Finding]:
    """Servers restarted one after the other."""
    with progress("restarts", sizes.restarts * len(scene.servers)) as tell:
        found = restarts.run(scene.site, scene.operator, scene.servers, sizes.restarts, tell)
    yield found


def away(scene: Scene, sizes: Sizes, progress: Progress) -> Iterator[Finding]:
    """The database away."""
    if scene.breaker is None:
        return
    with progress("the database away", 1) as tell:
        found = aways.run(scene.site, scene.breaker, sizes.seconds, tell)
    yield found


Experiment = Callable[[Scene, Sizes, Progress], Iterator[Finding]]
EXPERIMENTS: Final[dict[str, Experiment]] = {"revocation": revoke, "limit": limit, "clock": clock}
"""What can be run anywhere."""


ON_OWN_SERVERS: Final[dict[str, Experiment]] = {"kill": kill, "restart": restart}
"""What stops servers, and is therefore run on none but those that were started for it."""


def possible(scene: Scene) -> dict[str, Experiment]:
    """The experiments that can be run on that scene, in their order."""
    on_own = ON_OWN_SERVERS if scene.servers else {}
    return EXPERIMENTS | on_own | ({"away": away} if scene.breaker else {})
