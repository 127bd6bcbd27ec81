"""Reading peppers from settings or their file, which the first start creates. Hazmat."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from keystead.domain.digest import PEPPER_BYTES, Pepper, Peppers
from keystead.operation.files import ConfigurationError, require_private, write_once

FILE_NAME = "peppers"
_URL_SAFE = str.maketrans("-_", "+/")
"""We read both base64 alphabets, and write the URL-safe one: one run that the log can recognize and mask."""


def parse_peppers(entries: Iterable[str], source: str) -> Peppers:
    """Parse `id:base64` entries, the current pepper first. A ConfigurationError names an entry by its position only."""
    peppers = [_parse(entry.strip(), f"{source}, entry {n}") for n, entry in enumerate(entries, 1)]
    if not peppers:
        raise ConfigurationError(f"{source} contains no pepper; give id:base64 entries.")
    ids = [pepper.id for pepper in peppers]
    twice = {id for id in ids if ids.count(id) > 1}
    if twice:
        raise ConfigurationError(f"{source} contains the pepper id {min(twice)} twice.")
    return Peppers(peppers[0], peppers[1:])


def read_peppers(path: Path) -> Peppers | None:
    """Return the peppers of a file with one `id:base64` per line; None if it doesn't exist."""
    require_private(path, "The pepper file")
    try:
        lines = path.read_text("ascii").splitlines()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise ConfigurationError(f"The pepper file {path} is not text.") from None
    except OSError as error:
        raise ConfigurationError(f"Cannot read the pepper file {path}: {error.strerror}.") from None
    entries = [line for line in lines if line.strip() and not line.startswith("#")]
    return parse_peppers(entries, f"The pepper file {path}")


def make_peppers(path: Path) -> Peppers:
    """Create a file with one new pepper and return it. Concurrent processes all get the same one."""
    key = base64.urlsafe_b64encode(os.urandom(PEPPER_BYTES)).decode("ascii")
    id = f"{datetime.now(UTC):%Y-%m-%d}-{os.urandom(2).hex()}"
    write_once(path, f"{id}:{key}\n".encode("ascii"))
    peppers = read_peppers(path)
    if peppers is None:
        raise ConfigurationError(f"The pepper file {path} vanished while it was created.")
    return peppers


def _parse(entry: str, position: str) -> Pepper:
    id, colon, encoded = entry.partition(":")
    try:
        key = base64.b64decode(encoded.translate(_URL_SAFE), validate=True) if colon else b""
        return Pepper(id, key)
    except (binascii.Error, ValueError):
        raise ConfigurationError(
            f"{position}: a pepper is id:base64, the id 1-32 of a-z, 0-9 and hyphens, "
            f"then at least {PEPPER_BYTES} random bytes."
        ) from None
