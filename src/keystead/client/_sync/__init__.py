"""The clients that wait, written by hand. `make async-client` generates `_async` from this folder."""
