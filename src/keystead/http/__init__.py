"""Web plumbing that every front door shares: credentials, problems, bodies, pages, the outer stack. No product rule."""
