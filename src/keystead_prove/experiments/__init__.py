"""The experiments, one module each, and their catalog."""
