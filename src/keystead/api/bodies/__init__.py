"""The request bodies, one file a noun."""
