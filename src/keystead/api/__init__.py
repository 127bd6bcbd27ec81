"""The REST API: decode the request, call one use case, shape the response. Start reading in app.py."""
