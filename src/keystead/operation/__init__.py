"""What operators deal with: private files, peppers, logs, metrics, health, checks, gateways, the HTTP server."""
