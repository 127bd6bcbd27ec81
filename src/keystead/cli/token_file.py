"""The token of a command that speaks to a server: from the environment or a private file, never from an argument."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from keystead.cli.outcome import Exit, Failure

VARIABLE: Final = "KEYSTEAD_TOKEN"
FILE_VARIABLE: Final = "KEYSTEAD_TOKEN_FILE"
LARGEST: Final = 4_096


def read_token(named: Path | None) -> str:
    """The token: of the named file; else $KEYSTEAD_TOKEN; else of $KEYSTEAD_TOKEN_FILE; else of the usual file."""
    if named is None and (token := os.environ.get(VARIABLE, "").strip()):
        return token
    if named is None and (other := os.environ.get(FILE_VARIABLE)):
        named = Path(other)
    try:
        return _text_of(named or usual_file())
    except FileNotFoundError:
        where = f"{named} does not exist" if named else f"put it into {usual_file()} with mode 0600"
        raise Failure(f"There is no token: set {VARIABLE}, or {where}.", Exit.DENIED) from None
    except OSError as error:
        said = f"{named or usual_file()} cannot be read: {error.strerror}."
        raise Failure(said, Exit.DENIED) from None


def usual_file() -> Path:
    """Where a token is looked for when nothing else is said (XDG Base Directory)."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "keystead" / "token"


def _text_of(file: Path) -> str:
    """What a private file holds. It is judged as it is opened, so that nobody can put another in its place."""
    number = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _require_private(file, os.fstat(number))
        return os.read(number, LARGEST).decode("ascii", "replace").strip()
    finally:
        os.close(number)


def _require_private(file: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Failure(f"{file} is not a file.", Exit.DENIED)
    if status.st_uid not in {os.getuid(), 0}:
        raise Failure(f"{file} belongs to another user; a token must not.", Exit.DENIED)
    if stat.S_IMODE(status.st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise Failure(f"Others may read {file}, and may have: chmod 600 it.", Exit.DENIED)
