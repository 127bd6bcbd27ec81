"""Whole installations on both engines."""

from __future__ import annotations

from tests.support.installations import ground, own_ground, shared_ground

__all__ = ["ground", "own_ground", "shared_ground"]
