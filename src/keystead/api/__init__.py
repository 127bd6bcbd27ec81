"""The Workspace API over REST: decode, call one use case, shape the answer. No rule stands here. Begin in app.py."""
