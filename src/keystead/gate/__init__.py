"""The gate: forward authentication for gateways, token introspection and revocation. Plain ASGI, no framework."""
