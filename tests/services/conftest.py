"""Fixtures: whole installations on both engines."""

from __future__ import annotations

from tests.support.installations import own_sandbox, sandbox, shared_sandbox
from tests.support.people import crowd

__all__ = ["crowd", "own_sandbox", "sandbox", "shared_sandbox"]
