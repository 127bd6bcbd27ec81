"""The rows: all SQL, as functions (tx, workspace_id, ...) -> domain values; no rules of the product."""
