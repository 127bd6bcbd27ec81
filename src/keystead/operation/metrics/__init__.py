"""Metrics for Prometheus: their definitions, what a process counts, and the listener that adds all processes up."""
