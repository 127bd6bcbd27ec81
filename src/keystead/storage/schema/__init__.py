"""The schema: tables, column types, search, triggers, and the statements of verification."""
