"""Backups, and making a restored database safe before it is served again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from keystead.bootstrap.installation import Installation, open_safely
from keystead.bootstrap.preparation import (
    database_file,
    make_place,
    not_here,
    opened,
    prepare_database,
    revocation_log_of,
)
from keystead.domain.errors import StorageError
from keystead.domain.principals import Actor
from keystead.domain.revocation_log import RevocationEntry, parse_entries
from keystead.operation.files import ConfigurationError, draft_of, sync_folder
from keystead.services.restoration import Redone, Restoration, forgotten
from keystead.settings import Settings
from keystead.storage.clock import clock_of
from keystead.storage.maintenance import backup as copies
from keystead.storage.moving.marks import find_mark_in

_PIECE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Restored:
    """The result of a restore. `held`: suspended workspaces; `kept`: the previous database's new name."""

    redone: Redone
    held: int
    kept: Path | None


def back_up(settings: Settings, target: Path) -> None:
    """Back up the embedded database to a new private file. Raises ConfigurationError if that fails."""
    if not settings.is_embedded:
        raise ConfigurationError(
            "Back up a PostgreSQL with its own tools, pg_basebackup or pg_dump: see Backup and restore in"
            " docs/operations.md."
        )
    if os.path.lexists(target):
        raise _is_there(target)
    try:
        with draft_of(target) as draft:
            copies.back_up(database_file(settings), draft)
            _require_not_moved(draft)
            _sync(draft)
            # A rename overwrites. So create the name first, which fails if a file exists by now.
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            draft.replace(target)
        sync_folder(target.absolute().parent)
    except FileExistsError:
        raise _is_there(target) from None
    except OSError as error:
        raise ConfigurationError(f"Cannot write {target}: {error.strerror}.") from None


def _is_there(target: Path) -> ConfigurationError:
    return ConfigurationError(f"{target} already exists. A backup never overwrites a file.")


def restore(
    settings: Settings,
    actor: Actor,
    *,
    file: Path | None = None,
    journals: Sequence[Path] = (),
    hold: bool = False,
    accept: bool = False,
) -> Restored:
    """Restore a backup: revoke again what was revoked since, and end all sessions.

    A restore that is interrupted leaves a database that no server accepts, and can be repeated.

    Args:
        file: replaces the embedded database, whose server must be stopped; None: it was replaced already.
        journals: revocation logs of other servers.
        hold: suspend every workspace.
        accept: go on even if no revocation log exists.

    Raises:
        ConfigurationError: there is no revocation log, and neither `hold` nor `accept` was given.
    """
    make_place(settings)
    paths = (revocation_log_of(settings).path, *journals)
    entries = [entry for path in paths for entry in _read(path)]
    if not (entries or hold or accept):
        raise ConfigurationError(
            "It is not known what was revoked since the backup. Give the file `endings` of a server with --journal,"
            " suspend every workspace with --hold until you have checked, or go on with --accept."
        )
    kept = None if file is None else _put_in_place(settings, file)
    with opened(settings) as database:
        prepare_database(settings, database)
    installation = open_safely(settings)
    try:
        redone, held = _make_safe(installation, entries, actor, hold=hold)
        revocation_log_of(settings).settle(entries)
        if settings.is_embedded:
            copies.take_into_service(installation.database)
    finally:
        installation.close()
    return Restored(redone, held, kept)


def _make_safe(
    installation: Installation, entries: Sequence[RevocationEntry], actor: Actor, *, hold: bool
) -> tuple[Redone, int]:
    database, services = installation.database, installation.services
    restoration = Restoration(
        database,
        services.keys,
        services.workspaces,
        services.deletion,
        services.members,
        services.credentials,
        services.invitations,
        services.webhooks,
        services.first_uses,
        clock_of(database),
    )
    ended = restoration.end_sessions()
    restoration.forget_announced_ends()
    redone = restoration.redo(forgotten(database, entries), actor)
    if ended:
        redone.done["sessions ended"] = ended
    restoration.revoke_invitations(actor, redone)
    return redone, restoration.hold(actor) if hold else 0


def _put_in_place(settings: Settings, file: Path) -> Path | None:
    """Replace the embedded database by the backup, still marked as one. Returns where the old one is now."""
    if not settings.is_embedded:
        raise ConfigurationError(
            "Restore a PostgreSQL with its own tools, then run this command without a file."
        )
    if not file.is_file():
        raise ConfigurationError(f"The file {file} does not exist.")
    place = database_file(settings)
    with draft_of(place) as draft:
        _copy(file, draft)
        copies.require_sound(draft)
        _require_not_moved(draft, f"{file} can't be restored. ")
        copies.mark(draft)
        _sync(draft)
        kept = _set_aside(place)
        draft.rename(place)
    sync_folder(place.parent)
    return kept


def _set_aside(place: Path) -> Path | None:
    """Rename the old database, as one file if it is sound. Returns its new name, None if it was empty."""
    if place.stat().st_size == 0:
        return None
    try:
        copies.checkpoint(place)
        _require_not_moved(place)
    except copies.NotADatabase:
        pass  # a damaged database may be replaced
    except StorageError as error:
        raise ConfigurationError(f"{error} Stop the server first.") from None
    kept = place.with_name(f"{place.name}.before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    for end in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            place.with_name(place.name + end).rename(kept.with_name(kept.name + end))
    place.rename(kept)
    return kept


def _require_not_moved(file: Path, before: str = "") -> None:
    """Raise ConfigurationError, which begins with `before`, if the database was moved away or hasn't arrived."""
    mark = find_mark_in(file)
    if mark is not None:
        raise ConfigurationError(f"{before}{not_here(mark)}")


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("r+b") as write:
        while piece := read.read(_PIECE):
            write.write(piece)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _read(path: Path) -> list[RevocationEntry]:
    try:
        return parse_entries(path.read_bytes())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigurationError(f"Cannot read {path}: {error.strerror}.") from None
