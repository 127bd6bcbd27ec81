"""Where peppers come from: the environment, or a file that is made on the first start. Hazmat."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from keystead.domain.digest import PEPPER_BYTES, Pepper, Peppers
from keystead.operation.faults import ConfigurationError
from keystead.operation.files import require_private, write_once

FILE_NAME = "peppers"
_URL_SAFE = str.maketrans("-_", "+/")
"""Both alphabets of base64 are read; the one for URLs is written, as one run that a log can recognise and mask."""


def parse_peppers(entries: Iterable[str], source: str) -> Peppers:
    """Peppers from `id:base64` entries, the current first. ConfigurationError names the entry by its place alone."""
    peppers = [_parse(entry.strip(), f"{source}, entry {n}") for n, entry in enumerate(entries, 1)]
    if not peppers:
        raise ConfigurationError(f"{source} holds no pepper; give id:base64 entries.")
    ids = [pepper.id for pepper in peppers]
    twice = {id for id in ids if ids.count(id) > 1}
    if twice:
        raise ConfigurationError(f"{source} holds the pepper id {min(twice)} twice.")
    return Peppers(peppers[0], peppers[1:])


def read_peppers(path: Path) -> Peppers | None:
    """The peppers of a file, one `id:base64` a line; None where there is no such file."""
    require_private(path, "The pepper file")
    try:
        lines = path.read_text("ascii").splitlines()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise ConfigurationError(f"The pepper file {path} is not text.") from None
    except OSError as error:
        raise ConfigurationError(
            f"The pepper file {path} cannot be read: {error.strerror}."
        ) from None
    entries = [line for line in lines if line.strip() and not line.startswith("#")]
    return parse_peppers(entries, f"The pepper file {path}")


def make_peppers(path: Path) -> Peppers:
    """A file with one fresh pepper. Of several processes at once one makes it, and all get the same."""
    key = base64.urlsafe_b64encode(os.urandom(PEPPER_BYTES)).decode("ascii")
    id = f"{datetime.now(UTC):%Y-%m-%d}-{os.urandom(2).hex()}"
    write_once(path, f"{id}:{key}\n".encode("ascii"))
    made = read_peppers(path)
    if made is None:
        raise ConfigurationError(f"The pepper file {path} vanished while it was made.")
    return made


def _parse(entry: str, place: str) -> Pepper:
    id, colon, encoded = entry.partition(":")
    try:
        key = base64.b64decode(encoded.translate(_URL_SAFE), validate=True) if colon else b""
        return Pepper(id, key)
    except (binascii.Error, ValueError):
        raise ConfigurationError(
            f"{place}: a pepper is id:base64, the id 1-32 of a-z, 0-9 and hyphens, "
            f"then at least {PEPPER_BYTES} random bytes."
        ) from None
