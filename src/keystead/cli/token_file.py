"""The token for a server: from the environment or a private file, never from an argument.

`keystead login` stores one token per server and kind of credential.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from keystead.cli.outcome import Exit, Failure
from keystead.domain.token import trim
from keystead.operation.files import draft_of

VARIABLE: Final = "KEYSTEAD_TOKEN"
FILE_VARIABLE: Final = "KEYSTEAD_TOKEN_FILE"
LARGEST: Final = 4_096


def read_token(path: Path | None, url: str = "", *, operator: bool = False) -> str:
    """Return the token for the server at `url`. Failure without one.

    The first of: the file `path`, $KEYSTEAD_TOKEN, the file $KEYSTEAD_TOKEN_FILE, the file of `login`, and, except for
    an operator's token, the default file.
    """
    if path is None and (token := trim(os.environ.get(VARIABLE, ""))):
        return token
    if path is None and (other := os.environ.get(FILE_VARIABLE)):
        path = Path(other)
    if path is not None:
        return _read_existing(path)
    files = [login_file(url, operator=operator), *([] if operator else [default_file()])]
    for file in files:
        with suppress(FileNotFoundError):
            return _read(file)
    kind = "operator's token" if operator else "token"
    other = "" if operator else f", or write it to {default_file()} with mode 0600"
    raise Failure(
        f"There is no {kind}: set {VARIABLE}, or run `keystead login --url {url}`{other}.",
        Exit.DENIED,
    )


def default_file() -> Path:
    """Return the path of the token for all servers (XDG Base Directory)."""
    return _folder() / "token"


def login_file(url: str, *, operator: bool) -> Path:
    """Return the path where `keystead login` stores the token for a server."""
    suffix = ".operator" if operator else ""
    return _folder() / "tokens" / f"{quote(url.rstrip('/').lower(), safe='')}{suffix}"


def store_token(file: Path, token: str) -> None:
    """Write the token to a private file, replacing an older one atomically. Failure."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with draft_of(file) as draft:
            draft.write_text(f"{token}\n", encoding="ascii")
            draft.replace(file)
    except OSError as error:
        raise Failure(f"Can't write {file}: {error.strerror}.") from None


def remove_token(file: Path) -> bool:
    """Remove a stored token. Return False if there was none. Failure."""
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Failure(f"Can't remove {file}: {error.strerror}.") from None
    return True


def _folder() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "keystead"


def _read_existing(file: Path) -> str:
    try:
        return _read(file)
    except FileNotFoundError:
        detail = f"There is no token: {file} does not exist."
        raise Failure(detail, Exit.DENIED) from None


def _read(file: Path) -> str:
    """Return the content of a private file. FileNotFoundError, or Failure for any other error."""
    try:
        number = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            # Checked after opening: no other file can take its place in between.
            _require_private(file, os.fstat(number))
            return trim(os.read(number, LARGEST).decode("utf-8", "replace"))
        finally:
            os.close(number)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Failure(f"Can't read {file}: {error.strerror}.", Exit.DENIED) from None


def _require_private(file: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Failure(f"{file} is not a file.", Exit.DENIED)
    if status.st_uid not in {os.getuid(), 0}:
        raise Failure(f"{file} belongs to another user. Use a file of your own.", Exit.DENIED)
    if stat.S_IMODE(status.st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise Failure(
            f"Other users can read {file}, and may have done so. Run chmod 600 on it.", Exit.DENIED
        )
