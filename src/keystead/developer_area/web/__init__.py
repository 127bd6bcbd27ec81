"""Plumbing of the pages: rendering, forms, navigation, errors."""
