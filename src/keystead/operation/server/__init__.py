"""The HTTP server: its processes, their start and end, and the application they serve."""
