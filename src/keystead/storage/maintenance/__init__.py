"""Maintenance: migrating, backing up, inspecting a database."""
