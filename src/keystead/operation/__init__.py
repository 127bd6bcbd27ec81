"""What who runs an installation meets: safe files, peppers, logs, metrics, health, the listening server."""
