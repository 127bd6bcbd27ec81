# Generated from client/_sync/__init__.py by `make async-client`; do not edit.
"""The clients that await."""
