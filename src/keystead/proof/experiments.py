"""The experiments by name, their sizes, and where they are run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final

from keystead.proof import revocation
from keystead.proof.acts import REVOKED
from keystead.proof.finding import Finding
from keystead.proof.fleet import Server
from keystead.proof.site import Operator, Site

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Shows how something of that title and size goes on: given steps."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is tried: keys revoked, keys for each other act, verifiers at one server, rounds of the others."""

    keys: int = 300
    keys_each: int = 40
    in_flight: int = 12
    rounds: int = 5
    seconds: float = 8.0
    processes: int = 2


QUICK: Final = Sizes()
FULL: Final = Sizes(keys=10_000, keys_each=500, in_flight=200, rounds=50, seconds=60.0)


@dataclass(frozen=True, slots=True)
class Scene:
    """A site, its operator, and the servers where this program started them and may stop them (none else)."""

    site: Site
    operator: Operator
    servers: Sequence[Server] = field(default_factory=tuple)


def revoke(scene: Scene, sizes: Sizes, progress: Progress) -> Iterator[Finding]:
    """Every act that ends a key; and revocation once more with many verifications on their way."""
    for act in revocation.acts_of(scene.site):
        keys = sizes.keys if act is REVOKED else sizes.keys_each
        with progress(act.says, keys) as tell:
            yield revocation.run(
                scene.site, act, keys, scene.operator, processes=sizes.processes, tell=tell
            )
    each = -(-sizes.in_flight // len(scene.site.urls))
    with progress("many in flight", sizes.keys_each) as tell:
        yield revocation.run(
            scene.site, REVOKED, sizes.keys_each, scene.operator, each=each, processes=1, tell=tell
        )


Experiment = Callable[[Scene, Sizes, Progress], Iterator[Finding]]
EXPERIMENTS: Final[dict[str, Experiment]] = {"revocation": revoke}
"""What can be run anywhere."""


def possible(_: Scene) -> dict[str, Experiment]:
    """The experiments that can be run on that scene, in their order."""
    return dict(EXPERIMENTS)
