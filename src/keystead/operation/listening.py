"""The file in the data folder that says where the running server is reached, for the commands beside it.

A server takes its port and public URL from options too, which another command does not see.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

FILE_NAME: Final = "address"
_LONGEST: Final = 2_048


@contextmanager
def published(folder: Path, url: str) -> Iterator[None]:
    """Keep `url` in the folder's file while the server runs.

    The server does without: on PostgreSQL there may be no folder, and a full disk must not stop it.
    """
    file = folder / FILE_NAME
    with suppress(OSError):
        _replace(file, url)
    try:
        yield
    finally:
        # Another server over the same folder may have written its own since.
        if published_url(folder) == url:
            with suppress(OSError):
                file.unlink()


def published_url(folder: Path) -> str | None:
    """Return the URL of the server that runs over this folder, or of one that was killed; None without a file."""
    try:
        with (folder / FILE_NAME).open("rb") as file:
            url = file.read(_LONGEST).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return url if url.startswith(("http://", "https://")) and url.isprintable() else None


def _replace(file: Path, url: str) -> None:
    """Put `url` into the file, whole or not at all: a draft of a random name takes its place."""
    draft = file.with_name(f".{file.name}.{os.urandom(8).hex()}")
    number = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(number, "w", encoding="ascii") as opened:
            opened.write(f"{url}\n")
        draft.replace(file)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
