"""Small products on each framework, guarded by Keystead; each is a file that runs as it stands."""
