"""The page of one key: what it is, how it is used, and what happened to it."""
