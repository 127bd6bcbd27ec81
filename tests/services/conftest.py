"""Fixtures: whole installations on both engines."""

from __future__ import annotations

from tests.installations import ground, own_ground, shared_ground
from tests.people import crowd

__all__ = ["crowd", "ground", "own_ground", "shared_ground"]
