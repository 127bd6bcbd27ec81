"""Freshness: how processes learn that a cached verification no longer holds."""
