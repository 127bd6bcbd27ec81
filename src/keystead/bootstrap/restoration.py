"""Backups, and what must happen to a database that was restored from one before it is served again."""

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
    bring_up,
    database_file,
    journal_of,
    make_place,
    opened,
)
from keystead.domain.errors import StorageError
from keystead.domain.principals import Actor
from keystead.domain.revocation_log import RevocationEntry, parse_entries
from keystead.operation.faults import ConfigurationError
from keystead.operation.files import draft_of, sync_folder
from keystead.services.restoration import Redone, Restoration, forgotten
from keystead.settings import Settings
from keystead.storage.clock import clock_of
from keystead.storage.maintenance import backup as copies

_PIECE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a restored database. `kept`: where the one before it is; `held`: workspaces suspended."""

    redone: Redone
    held: int
    kept: Path | None


def back_up(settings: Settings, target: Path) -> None:
    """A backup of the embedded database, in a new file of mode 0600. ConfigurationError where that cannot be."""
    if not settings.is_embedded:
        raise ConfigurationError(
            "A PostgreSQL is backed up by its own tools, pg_basebackup or pg_dump: see Backups in docs/operations.md."
        )
    if os.path.lexists(target):
        raise _is_there(target)
    try:
        with draft_of(target) as draft:
            copies.back_up(database_file(settings), draft)
            _sync(draft)
            # Renaming overwrites, so the name is taken first: what came to be there meanwhile stays.
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            draft.replace(target)
        sync_folder(target.absolute().parent)
    except FileExistsError:
        raise _is_there(target) from None
    except OSError as error:
        raise ConfigurationError(f"{target} cannot be written: {error.strerror}.") from None


def _is_there(target: Path) -> ConfigurationError:
    return ConfigurationError(f"{target} is there already: a backup overwrites nothing.")


def restore(
    settings: Settings,
    actor: Actor,
    *,
    file: Path | None = None,
    journals: Sequence[Path] = (),
    hold: bool = False,
    accept: bool = False,
) -> Restored:
    """Takes a backup into service: what ended since is ended again, every session ends, and with `hold` nothing works.

    `file` replaces the embedded database, whose server must be stopped; without it the database is restored already.
    ConfigurationError where nothing is known of what ended since, unless the caller has said what is to be done then.
    A restore that is broken off leaves a database that is refused, and may be begun again.
    """
    make_place(settings)
    endings = [one for path in (journal_of(settings).path, *journals) for one in _read(path)]
    if not (endings or hold or accept):
        raise ConfigurationError(
            "Nothing is known of what was revoked since the backup: give the file `endings` of a server with --journal,"
            " suspend every workspace with --hold until it was looked at, or go on with --accept."
        )
    kept = None if file is None else _put_in_place(settings, file)
    with opened(settings) as database:
        bring_up(settings, database)
    installation = open_safely(settings)
    try:
        redone, held = _make_safe(installation, endings, actor, hold=hold)
        journal_of(settings).settle(endings)
        if settings.is_embedded:
            copies.take_into_service(installation.database)
    finally:
        installation.close()
    return Restored(redone, held, kept)


def _make_safe(
    installation: Installation, endings: Sequence[RevocationEntry], actor: Actor, *, hold: bool
) -> tuple[Redone, int]:
    database, services = installation.database, installation.services
    restoration = Restoration(
        database,
        services.keys,
        services.workspaces,
        services.members,
        services.credentials,
        services.invitations,
        services.webhooks,
        clock_of(database),
    )
    ended = restoration.end_sessions()
    redone = restoration.redo(forgotten(database, endings), actor)
    if ended:
        redone.done["sessions ended"] = ended
    restoration.revoke_invitations(actor, redone)
    return redone, restoration.hold(actor) if hold else 0


def _put_in_place(settings: Settings, file: Path) -> Path | None:
    """The backup as the embedded database, still marked as one. The old one is kept beside it, and told where."""
    if not settings.is_embedded:
        raise ConfigurationError(
            "A PostgreSQL is restored by its own tools; then run this command without a file."
        )
    if not file.is_file():
        raise ConfigurationError(f"There is no file {file}.")
    place = database_file(settings)
    with draft_of(place) as draft:
        _copy(file, draft)
        copies.require_sound(draft)
        copies.mark(draft)
        _sync(draft)
        kept = _set_aside(place)
        draft.rename(place)
    sync_folder(place.parent)
    return kept


def _set_aside(place: Path) -> Path | None:
    """The old database under another name, in one piece where it is sound; None where there was none."""
    if place.stat().st_size == 0:
        return None
    try:
        copies.be_alone(place)
    except copies.NotADatabase:
        pass
    except StorageError as error:
        raise ConfigurationError(f"{error} Stop the server first.") from None
    kept = place.with_name(f"{place.name}.before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    for end in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            place.with_name(place.name + end).rename(kept.with_name(kept.name + end))
    place.rename(kept)
    return kept


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
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
