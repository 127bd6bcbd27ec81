"""Fixtures of the gate's tests: the whole application over both engines."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.gate import GateApplication, gate_of
from tests.support.installations import SandboxInstallation, own_sandbox, sandbox, shared_sandbox

__all__ = ["own_sandbox", "sandbox", "shared_sandbox"]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all requests of a file, as a server's process has."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def shared_gate(shared_sandbox: SandboxInstallation, runner: asyncio.Runner) -> GateApplication:
    """The file's installation with its endpoints."""
    return gate_of(shared_sandbox, runner)


@pytest.fixture
def gate(sandbox: SandboxInstallation, shared_gate: GateApplication) -> GateApplication:
    """The same, at noon."""
    return shared_gate
