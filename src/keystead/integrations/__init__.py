"""Keystead inside a Python application: one file per framework, each over the same guard.

`connect` opens the guard: over the database itself, in process, or over a Keystead server's introspection.
"""

from __future__ import annotations

from keystead.domain.principals import Principal
from keystead.integrations.connection import connect
from keystead.integrations.guard import Guard

__all__ = ["Guard", "Principal", "connect"]
