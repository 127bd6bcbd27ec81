"""Keystead: API keys for a multi-tenant product, shown once, checked on every request, revoked immediately."""

__version__ = "0.1.0"
