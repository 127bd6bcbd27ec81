"""Small products on each framework, guarded by Keystead; each file runs as it is."""
