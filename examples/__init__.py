"""A small product on each framework, protected by Keystead. Each file runs unchanged."""
