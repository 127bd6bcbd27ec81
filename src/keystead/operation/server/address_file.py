"""The file in the data folder with the running server's URL, for other commands on this machine.

A server may get its port and public URL from options, which another command can't see.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from keystead.operation.files import overwrite

FILE_NAME: Final = "address"
_MAX_BYTES: Final = 2_048


@contextmanager
def published(folder: Path, url: str) -> Iterator[None]:
    """Keep `url` in the folder's file while the server runs, if it can be written.

    On PostgreSQL there may be no folder, and a full disk must not stop the server.
    """
    file = folder / FILE_NAME
    with suppress(OSError):
        overwrite(file, f"{url}\n".encode())
    try:
        yield
    finally:
        # Another server over the same folder may have written its own URL since.
        if published_url(folder) == url:
            with suppress(OSError):
                file.unlink()


def published_url(folder: Path) -> str | None:
    """Return the URL of the server that runs over this folder, or of one that was killed; None without a file."""
    try:
        with (folder / FILE_NAME).open("rb") as file:
            url = file.read(_MAX_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return url if url.startswith(("http://", "https://")) and url.isprintable() else None
