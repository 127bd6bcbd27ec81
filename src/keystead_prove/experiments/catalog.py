"""The experiments by name, their sizes, and the environments in which they can run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final

from keystead_prove.experiments import away as aways
from keystead_prove.experiments import clock as clocks
from keystead_prove.experiments import kill as kills
from keystead_prove.experiments import limit as limits
from keystead_prove.experiments import restart as restarts
from keystead_prove.experiments import revocation
from keystead_prove.race.acts import REVOKED
from keystead_prove.report import Finding
from keystead_prove.servers.endpoints import Operator, Target
from keystead_prove.servers.fault_proxy import FaultProxy
from keystead_prove.servers.processes import RestartableServer

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Shows the progress of something with that title and number of steps."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes: keys to revoke, keys for each other act, concurrent verifications, rounds, and so on."""

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
class Environment:
    """A target and its operator; for a temporary installation also its `servers` and `fault_proxy`."""

    target: Target
    operator: Operator
    servers: Sequence[RestartableServer] = field(default_factory=tuple)
    fault_proxy: FaultProxy | None = None


def revoke(environment: Environment, sizes: Sizes, progress: Progress) -> Iterator[Finding]:
    """Run the race for each act that revokes access, and for revocation again with many concurrent verifications."""
    for act in revocation.acts_of(environment.target):
        keys = sizes.keys if act is REVOKED else sizes.keys_each
        with progress(act.says, keys) as on_step:
            finding = revocation.run(
                environment.target,
                act,
                keys,
                environment.operator,
                processes=sizes.processes,
                on_step=on_step,
            )
        yield finding
    each = -(-sizes.in_flight // len(environment.target.endpoints))
    with progress("many concurrent verifications", sizes.keys_each) as on_step:
        finding = revocation.run(
            environment.target,
            REVOKED,
            sizes.keys_each,
            environment.operator,
            each=each,
            processes=1,
            on_step=on_step,
        )
    yield finding


def limit(environment: Environment, sizes: Sizes, progress: Progress) -> Iterator[Finding]:
    """Create as many keys as a plan allows."""
    with progress("concurrent creations", sizes.rounds) as on_step:
        finding = limits.run(environment.target, environment.operator, sizes.rounds, on_step)
    yield finding


def clock(environment: Environment, sizes: Sizes, progress: Progress) -> Iterator[Finding]:
    """Let keys expire."""
    with progress("expiring keys", sizes.rounds) as on_step:
        finding = clocks.run(environment.target, environment.operator, sizes.rounds, on_step)
    yield finding


def kill(environment: Environment, sizes: Sizes, progress: Progress) -> Iterator[Finding]:
    """Kill servers at work."""
    with progress("kills", sizes.kills) as on_step:
        finding = kills.run(environment.target, environment.servers, sizes.kills, on_step)
    yield finding


def restart(environment: Environment, sizes: Sizes, progress: Progress) -> Iterator[Finding]:
    """Restart servers one by one."""
    with progress("restarts", sizes.restarts * len(environment.servers)) as on_step:
        finding = restarts.run(
            environment.target, environment.operator, environment.servers, sizes.restarts, on_step
        )
    yield finding


def away(environment: Environment, sizes: Sizes, progress: Progress) -> Iterator[Finding]:
    """Disconnect the database."""
    if environment.fault_proxy is None:
        return
    with progress("an unavailable database", 1) as on_step:
        finding = aways.run(environment.target, environment.fault_proxy, sizes.seconds, on_step)
    yield finding


Experiment = Callable[[Environment, Sizes, Progress], Iterator[Finding]]
EXPERIMENTS: Final[dict[str, Experiment]] = {"revocation": revoke, "limit": limit, "clock": clock}
"""The experiments for every environment."""


ON_OWN_SERVERS: Final[dict[str, Experiment]] = {"kill": kill, "restart": restart}
"""The experiments that stop servers, for temporary installations only."""


def possible(environment: Environment) -> dict[str, Experiment]:
    """Return the experiments that can run in this environment, in order."""
    on_own = ON_OWN_SERVERS if environment.servers else {}
    return EXPERIMENTS | on_own | ({"away": away} if environment.fault_proxy else {})
