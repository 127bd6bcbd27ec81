"""The classes of errors."""

from __future__ import annotations

from keystead.domain.errors import KeysteadError


def error_classes(root: type[KeysteadError] = KeysteadError) -> set[type[KeysteadError]]:
    """Return the error tree, the root included."""
    return {root}.union(*(error_classes(child) for child in root.__subclasses__()))
