"""Fixtures of these tests: whole installations on both engines."""

from __future__ import annotations

from tests.installations import ground, own_ground, shared_ground

__all__ = ["ground", "own_ground", "shared_ground"]
