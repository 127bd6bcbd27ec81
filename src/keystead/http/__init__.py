"""Web plumbing that every front door shares: credentials, problems, bodies, paging and the outer stack."""
