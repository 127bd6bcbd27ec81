"""Connections: URLs, drivers, liveness, the FIFO lock of SQLite's writers, disk space, database roles."""
