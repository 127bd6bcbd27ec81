"""PostgreSQL's row-level security: the grants, their difference from the database, applying it."""
