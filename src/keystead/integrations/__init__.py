"""Keystead inside a Python application: one module per framework, over one guard.

`connect` returns the guard: over the database in process, or over a Keystead server's introspection.
"""

from __future__ import annotations

from keystead.domain.principals import Principal
from keystead.domain.scopes import Scopes
from keystead.integrations.connection import connect
from keystead.integrations.guard import Guard

__all__ = ["Guard", "Principal", "Scopes", "connect"]
