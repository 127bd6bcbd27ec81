"""Signing in and out, sessions, and confirming who you are."""
