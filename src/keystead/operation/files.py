"""Private files and folders, the refusal of files that others can read, and the check of a TLS key pair."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
OTHERS_OR_GROUP_WRITE: Final = stat.S_IRWXO | stat.S_IWGRP
"""A group, such as one that makes backups, may read it."""


class ConfigurationError(ValueError):
    """An unsafe or unusable configuration: one line with the problem and its fix, never a secret."""


def make_folder(path: Path) -> None:
    """Create the folder with mode 0700 if it doesn't exist."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot create the data folder {path}: {error.strerror}."
        ) from None


def make_empty_file(path: Path) -> None:
    """Create an empty file with mode 0600 if it doesn't exist. SQLite gives its other files the same mode."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def require_private(path: Path, what: str, forbidden: int = OTHERS) -> None:
    """Raise ConfigurationError if an existing file or folder has one of the `forbidden` mode bits."""
    with suppress(FileNotFoundError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & forbidden:
            raise ConfigurationError(
                f"{what} {path} is open to others (mode {mode:04o}); "
                f"run: chmod {mode & ~forbidden:04o} {path}"
            )


def read_secrets(folder: Path, names: Collection[str]) -> dict[str, str]:
    """Return the content of each file in the folder. Raises ConfigurationError for a file of another name.

    A group may read them, because Kubernetes hands them to a user other than root that way.
    """
    secrets = {}
    try:
        # Kubernetes keeps the files in hidden folders, and links to them.
        for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
            if path.name not in names:
                listed = ", ".join(sorted(names))
                raise ConfigurationError(f"{path} is not named for one of the settings {listed}.")
            require_private(path, "The secret", OTHERS_OR_GROUP_WRITE)
            secrets[path.name] = path.read_text("utf-8").strip()
    except OSError as error:
        raise ConfigurationError(
            f"Cannot read the secrets in {folder}: {error.strerror}."
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"A secret in {folder} is not text.") from None
    return secrets


def write_once(path: Path, content: bytes) -> bool:
    """Create a synced file with mode 0600, which appears only when it is complete. Returns False if it already exists.

    If several processes do this at the same time, one wins; nothing is ever overwritten.
    """
    with draft_of(path) as draft:
        _write_synced(draft, content)
        try:
            os.link(draft, path)  # unlike a rename, a link fails if the name exists
        except FileExistsError:
            return False
    sync_folder(path.parent)
    return True


def overwrite(path: Path, content: bytes) -> None:
    """Replace the file atomically by a synced one with mode 0600."""
    with draft_of(path) as draft:
        _write_synced(draft, content)
        draft.replace(path)
    sync_folder(path.parent)


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """Create an empty file of mode 0600 next to `path`, and remove it at the end if it is still there.

    Its name is random and the file always new (O_EXCL), so in a folder that others may write to, we
    never write through a file or link that they have put there.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    draft = Path(name)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Sync the folder's directory entries: a new name survives a power cut only after this."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_pair(certificate: Path, key: Path) -> str:
    """Raise ConfigurationError unless the certificate and its private, unencrypted PKCS#8 key can be used."""
    import ssl

    for path, what in ((certificate, "certificate"), (key, "TLS key")):
        if not path.is_file():
            raise ConfigurationError(f"The {what} {path} does not exist.")
    require_private(key, "The TLS key")
    _require_pkcs8(key)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: b"")
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error.strerror or "unknown"
        raise ConfigurationError(
            f"The certificate {certificate} and the TLS key {key} do not match: {reason}."
        ) from None
    return "The certificate and its key can be used."


def _require_pkcs8(key: Path) -> None:
    try:
        head = key.read_bytes()[:4096]
    except OSError as error:
        raise ConfigurationError(f"Cannot read the TLS key {key}: {error.strerror}.") from None
    if b"-----BEGIN PRIVATE KEY-----" not in head:
        raise ConfigurationError(
            f"The TLS key {key} must be unencrypted PKCS#8; "
            f"run: openssl pkcs8 -topk8 -nocrypt -in {key} -out {key}.pkcs8"
        )
