"""Keystead: the API-key layer of a multi-tenant product. Public names only."""

__version__ = "0.1.0"
