"""What to install if an import fails because an extra of Keystead is not installed."""

from __future__ import annotations


def missing(error: ModuleNotFoundError, subject: str, extra: str) -> str | None:
    """Return a sentence that says which extra `subject` needs; None if the absent module is Keystead's own, a bug."""
    package = (error.name or "").partition(".")[0]
    if package == "keystead":
        return None
    return (
        f"{subject} needs the package {package}. Install it with: pip install 'keystead[{extra}]'"
    )
