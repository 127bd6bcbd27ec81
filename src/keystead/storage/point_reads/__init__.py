"""Single rows by primary key, on the raw driver: what the hot path reads."""
