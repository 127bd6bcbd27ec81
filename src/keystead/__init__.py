"""Keystead: API keys for a multi-tenant product, shown once, checked on every request, revoked immediately."""

__version__ = "0.1.0"

VERSION_FLAGS = ("--version", "-V")


def version() -> str:
    """Return what `keystead --version` prints."""
    return f"{__version__} (revision {revision()})"


def revision() -> str:
    """Return the commit that this package was built from, or "unknown" if `make release` didn't build it."""
    from pathlib import Path

    try:
        return (Path(__file__).parent / "revision").read_text("ascii").strip()
    except OSError:
        return "unknown"
