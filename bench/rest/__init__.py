"""The REST API over HTTP, call by call, with floors from the same run."""
