"""The Operator API, for the product's backend: one file a noun."""
