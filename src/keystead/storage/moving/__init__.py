"""Copying an installation to another database, of either engine, while no server runs."""
