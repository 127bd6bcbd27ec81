"""The REST API over HTTP, call by call, beside floors from the same run."""
