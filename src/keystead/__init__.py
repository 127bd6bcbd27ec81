"""Keystead: API keys for a multi-tenant product, created once, verified everywhere, revoked at once."""

__version__ = "0.1.0"
