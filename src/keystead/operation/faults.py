"""The one error of a configuration that must not run."""

from __future__ import annotations


class ConfigurationError(ValueError):
    """What is wrong and how to mend it, in one line, without a value that could be a secret."""
