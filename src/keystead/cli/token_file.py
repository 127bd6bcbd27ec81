"""The token of a command that speaks to a server: from the environment or a private file, never from an argument.

`keystead login` keeps one in a file for each server and kind of credential; nothing else here writes any.
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


def read_token(named: Path | None, url: str = "", *, operator: bool = False) -> str:
    """The token for the server at `url`.

    Of the named file; else $KEYSTEAD_TOKEN; else of $KEYSTEAD_TOKEN_FILE; else the one that was kept for the server;
    else, for who is no operator, of the usual file.
    """
    if named is None and (token := trim(os.environ.get(VARIABLE, ""))):
        return token
    if named is None and (other := os.environ.get(FILE_VARIABLE)):
        named = Path(other)
    if named is not None:
        return _named(named)
    usual = [kept_file(url, operator=operator), *([] if operator else [usual_file()])]
    for file in usual:
        with suppress(FileNotFoundError):
            return _readable(file)
    kind = "operator's token" if operator else "token"
    other = "" if operator else f", or put it into {usual_file()} with mode 0600"
    raise Failure(
        f"There is no {kind}: set {VARIABLE}, or run `keystead login --url {url}`{other}.",
        Exit.DENIED,
    )


def usual_file() -> Path:
    """Where a token is looked for when nothing else is said (XDG Base Directory)."""
    return _folder() / "token"


def kept_file(url: str, *, operator: bool) -> Path:
    """Where `keystead login` keeps the token for a server: its URL, written so that it is one name."""
    ending = ".operator" if operator else ""
    return _folder() / "tokens" / f"{quote(url.rstrip('/').lower(), safe='')}{ending}"


def keep_token(file: Path, token: str) -> None:
    """Puts the token into the file, private from its first byte on; what was there is replaced at once."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with draft_of(file) as draft:
            draft.write_text(f"{token}\n", encoding="ascii")
            draft.replace(file)
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror}.") from None


def forget_token(file: Path) -> bool:
    """Removes a kept token; False where there was none."""
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Failure(f"{file} cannot be removed: {error.strerror}.") from None
    return True


def _folder() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "keystead"


def _named(file: Path) -> str:
    try:
        return _readable(file)
    except FileNotFoundError:
        detail = f"There is no token: {file} does not exist."
        raise Failure(detail, Exit.DENIED) from None


def _readable(file: Path) -> str:
    """What the file holds; FileNotFoundError, and a Failure for whatever else is wrong with it."""
    try:
        return _text_of(file)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Failure(f"{file} cannot be read: {error.strerror}.", Exit.DENIED) from None


def _text_of(file: Path) -> str:
    """What a private file holds. It is judged as it is opened, so that nobody can put another in its place."""
    number = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _require_private(file, os.fstat(number))
        return trim(os.read(number, LARGEST).decode("utf-8", "replace"))
    finally:
        os.close(number)


def _require_private(file: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Failure(f"{file} is not a file.", Exit.DENIED)
    if status.st_uid not in {os.getuid(), 0}:
        raise Failure(f"{file} belongs to another user; a token must not.", Exit.DENIED)
    if stat.S_IMODE(status.st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise Failure(f"Others may read {file}, and may have: chmod 600 it.", Exit.DENIED)
