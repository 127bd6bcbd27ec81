"""Fixtures: whole installations on both engines."""

from __future__ import annotations

from tests.support.installations import own_sandbox, sandbox, shared_sandbox

__all__ = ["own_sandbox", "sandbox", "shared_sandbox"]
