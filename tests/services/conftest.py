"""Fixtures: whole installations on both engines."""

from __future__ import annotations

from tests.support.installations import own_sandbox, sandbox, shared_sandbox
from tests.support.people import people

__all__ = ["own_sandbox", "people", "sandbox", "shared_sandbox"]
