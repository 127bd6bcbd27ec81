"""Keystead: the API-key layer of a multi-tenant product. This module names what is public, nothing else."""

__version__ = "0.1.0"
