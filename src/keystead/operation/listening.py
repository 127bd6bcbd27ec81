"""The file in the data folder that says where the running server is reached, for the commands beside it.

A server takes its port and public URL from options too, which another command does not see.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from keystead.operation.files import overwrite

FILE_NAME: Final = "address"
_LONGEST: Final = 2_048


@contextmanager
def published(folder: Path, url: str) -> Iterator[None]:
    """Keep `url` in the folder's file while the server runs.

    The server does without: on PostgreSQL there may be no folder, and a full disk must not stop it.
    """
    file = folder / FILE_NAME
    with suppress(OSError):
        overwrite(file, f"{url}\n".encode())
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
            url = file.read(_LONGEST).decode().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return url if url.startswith(("http://", "https://")) and url.isprintable() else None
