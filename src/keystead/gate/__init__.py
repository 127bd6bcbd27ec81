"""The gate: whether a token is good, for gateways and services, and the end of one. Plain ASGI, no framework."""
