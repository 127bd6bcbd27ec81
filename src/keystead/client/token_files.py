"""A job's token in a private file, replaced by its successor: through lost answers, crashes and concurrent jobs.

The new token is on disk before it is first used. From then on the old key ends soon, so a crash must not lose the new
one: the next run finds the draft, and goes on from there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from keystead.client._sync.client import Client
from keystead.client.errors import InvalidToken, NotAToken, RenewalRunning, UnsafeFile
from keystead.client.results import Key
from keystead.domain.token import trim

LARGEST: Final = 4_096
_OPEN: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class RenewedFile:
    """The key whose token is in the file, and whether it was put there now."""

    key: Key
    is_new: bool


def renew_token_file(
    path: str | os.PathLike[str],
    url: str,
    *,
    if_older_than: timedelta | None = None,
    **options: Any,
) -> RenewedFile:
    """Renew the key whose token is in a file, verify the new token, then replace the file. Run it as often as you like.

    Args:
        path: The file, which only its owner may read.
        url: The server.
        if_older_than: Renew only a key that is older.
        options: What `Client` takes.

    Raises:
        RenewalRunning: Another process renews this file.
        UnsafeFile: Others can read the file, or it isn't one.
        NotAToken, NotRenewable, RotationInProgress, RateLimited, Unreachable: The file is as it was.
        OSError: The file can't be read or replaced.
    """
    file = Path(path).resolve()  # a link stays one
    with _locked(file) as token:
        draft = file.with_name(f".{file.name}.renewed")
        key = _recovered(draft, token, url, options)
        if key is None:
            with Client(url, token, **options) as client:
                if if_older_than is not None:
                    current = client.whoami().key
                    if datetime.now(UTC) - current.created_at <= if_older_than:
                        return RenewedFile(current, is_new=False)
                with _drafted(draft) as number:
                    _write(number, client.keys.renew().token.reveal())
            _sync_folder(file.parent)  # a crash after the first use must leave the draft's name too
            key = _verified(draft, url, options)
        draft.replace(file)
        _sync_folder(file.parent)
        return RenewedFile(key, is_new=True)


@contextmanager
def _locked(file: Path) -> Iterator[str]:
    """Yield the file's token while no other process renews it. The lock ends with the process."""
    import fcntl  # not on Windows, which has no such locks

    number = _open_private(file, os.O_RDONLY)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RenewalRunning("Another process is renewing this token.") from None
        # It may have been replaced between the two: then the lock is on the file of before.
        if not os.path.samestat(os.fstat(number), file.stat()):
            raise RenewalRunning("Another process has just renewed this token.")
        yield _text_of(number)
    finally:
        os.close(number)


def _recovered(draft: Path, token: str, url: str, options: dict[str, Any]) -> Key | None:
    """Return the key of a draft that an earlier run left, if its token works. None if the file's own token does."""
    try:
        return _verified(draft, url, options)
    except FileNotFoundError:
        return None
    except NotAToken:  # the run ended before it was written
        pass
    except InvalidToken:
        # In a suspended workspace neither works: later, the draft's may be the one that does.
        with Client(url, token, **options) as client:
            client.whoami()
    draft.unlink()
    return None


def _verified(draft: Path, url: str, options: dict[str, Any]) -> Key:
    """Return the key of the draft's token. Its first use ends the key before it."""
    number = _open_private(draft, os.O_RDONLY)
    try:
        token = _text_of(number)
    finally:
        os.close(number)
    with Client(url, token, **options) as client:
        return client.whoami().key


@contextmanager
def _drafted(draft: Path) -> Iterator[int]:
    """Create the draft before the renewal, so that a folder without room or permission costs none."""
    number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o600)
    try:
        yield number
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    finally:
        os.close(number)


def _write(number: int, token: str) -> None:
    data = f"{token}\n".encode("ascii")
    while data:
        data = data[os.write(number, data) :]
    os.fsync(number)


def _open_private(file: Path, flags: int) -> int:
    """Return the descriptor of a file that only its owner can read. Raises UnsafeFile."""
    number = os.open(file, flags | _OPEN)
    status = os.fstat(number)
    is_own = stat.S_ISREG(status.st_mode) and status.st_uid in {os.getuid(), 0}
    if is_own and not stat.S_IMODE(status.st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        return number
    os.close(number)
    raise UnsafeFile(f"{file} must be a file of your own that others can't read: chmod 600.")


def _text_of(number: int) -> str:
    return trim(os.pread(number, LARGEST, 0).decode("utf-8", "replace"))


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
