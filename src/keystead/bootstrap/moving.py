"""Moving an installation to another database, and taking the old one back into service."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from keystead.bootstrap.doctor import has_begun
from keystead.bootstrap.preparation import (
    Migrated,
    as_owner,
    database_file,
    migrate,
    not_here,
    opened,
    prepare,
    revocation_log_of,
)
from keystead.domain.ids import new_id
from keystead.operation.files import ConfigurationError
from keystead.operation.peppers import FILE_NAME
from keystead.settings import Settings, settings_elsewhere
from keystead.storage.clock import SystemClock
from keystead.storage.engine.urls import parse_url, require_well_formed, without_login
from keystead.storage.maintenance import migrate as migrations
from keystead.storage.maintenance.migrate import SchemaStatus
from keystead.storage.moving.copying import CopiedTable, OnStep, Step, copy_all
from keystead.storage.moving.exclusive import CopyFailed, ExclusiveDatabase, InUse
from keystead.storage.moving.marks import MoveMark, MoveState, find_mark

__all__ = ["Moved", "Step", "move", "undo_move"]

_SOURCE: Final = "set KEYSTEAD_MIGRATION_DATABASE to the URL of the tables' owner"
_TARGET: Final = "give --to the URL of a role that owns the database's tables, or may create them"


@dataclass(frozen=True, slots=True)
class Moved:
    """The result of a move.

    `tables`: what was copied and compared; empty if an interrupted move had done that. `server`: the login for servers
    of a PostgreSQL, and whether it is new. `carry`: what servers need besides the database.
    """

    source: str
    target: str
    tables: Sequence[CopiedTable]
    server: str | None
    made_login: bool
    carry: Sequence[str]


def move(settings: Settings, to: str, on_step: OnStep, server_role: str | None = None) -> Moved:
    """Copy the installation to the database `to`, which must be empty, and give up the one of the settings.

    1. The source is locked, and no server runs on it.
    2. The target gets the schema, on PostgreSQL roles and row-level security, as by `keystead migrate`, and the mark
       that the installation is arriving. From here on it is not served.
    3. In one transaction of the target: all rows, and their comparison.
    4. In one transaction of the source: the mark that it was left. From here on it is not served.
    5. The target's mark is removed. From here on it is served.

    Interrupted before the end of 4, the move starts again, and after it goes on with 5. At no time do servers accept
    both databases, or one that is incomplete.

    Raises:
        ConfigurationError: what has to be done first; nothing was moved.
    """
    target = _settings_of_target(settings, to)
    here, there = _place(settings), _place(target)
    if here == there:
        raise ConfigurationError(f"The installation is in {there} already.")
    mark = _find_mark(settings)
    if mark is not None:
        _require_interrupted(mark, target)
    migrated, tables = None, list[CopiedTable]()
    if mark is None:
        prepare(settings)
        with _exclusive(settings, _SOURCE) as source:
            # Another move may have ended since. From here on none can begin.
            if (other := source.mark()) is not None:
                raise not_here(other)
            _require_room(source, target, here)
            mark = MoveMark(
                new_id("move", SystemClock().now()), MoveState.LEFT, there, SystemClock().now()
            )
            migrated = _prepare_target(target, server_role)
            arriving = replace(mark, state=MoveState.ARRIVING, place=here)
            _mark_arriving(source, target, arriving)
            tables = _copy(source, target, arriving, on_step)
            source.set_mark(mark)
            source.give_up()
            source.commit()
    _arrive(target, mark)
    row_security = None if migrated is None else migrated.row_security
    return Moved(
        here,
        there,
        tables,
        None if row_security is None else row_security.server,
        row_security is not None and row_security.made_login,
        _carried(settings),
    )


def undo_move(settings: Settings, server_role: str | None = None) -> MoveMark:
    """Take the database of the settings, which was moved away, back into service. Returns the move.

    Raises:
        ConfigurationError: it was not moved away.
    """
    mark = _find_mark(settings)
    if mark is None or mark.state is not MoveState.LEFT:
        raise ConfigurationError(f"The installation was not moved away from {_place(settings)}.")
    migrate(
        settings, server_role
    )  # which grants the servers' roles again what the move took from them
    with _exclusive(settings, _SOURCE) as database:
        database.remove_mark()
        database.commit()
    return mark


def _settings_of_target(settings: Settings, to: str) -> Settings:
    try:
        target = settings_elsewhere(settings, to)
        require_well_formed(to)
    except ConfigurationError as error:
        raise ConfigurationError(f"--to as {error}") from None
    except ValueError as error:
        raise ConfigurationError(f"--to {error}") from None
    return target


def _place(settings: Settings) -> str:
    return without_login(parse_url(settings.database_url))


def _find_mark(settings: Settings) -> MoveMark | None:
    """Return the mark of the settings' database, whatever its schema's revision."""
    if not has_begun(settings):
        return None
    with opened(settings) as database:
        return find_mark(database)


def _require_interrupted(mark: MoveMark, target: Settings) -> None:
    """Raise ConfigurationError unless the move that the source's mark is of can go on, to this target."""
    if mark.state is not MoveState.LEFT or mark.place != _place(target):
        raise not_here(mark)
    present = _find_mark(target)
    if present is None or present.id != mark.id:
        raise not_here(mark)


def _require_room(source: ExclusiveDatabase, target: Settings, here: str) -> None:
    """Raise ConfigurationError unless the target is empty, before anything changes there."""
    if not has_begun(target):
        return
    with opened(target) as database, as_owner(_TARGET):
        status = migrations.state(database).status
        is_blank = status is SchemaStatus.EMPTY and migrations.is_blank(database)
    if is_blank:
        return
    if status is not SchemaStatus.CURRENT:
        raise _not_empty(target)
    with _exclusive(target, _TARGET) as database_in_use:
        _require_unused(source, database_in_use, target, here)


def _require_unused(
    source: ExclusiveDatabase, database: ExclusiveDatabase, target: Settings, here: str
) -> None:
    mark = database.mark()
    is_unused = database.is_unused()
    if mark is None:
        is_free = is_unused
    else:
        # What an interrupted move from the same source has left can be replaced: that source was not given up. Another
        # installation may have the same place, on another machine.
        is_same = is_unused or source.has_workspace(database.first_workspace())
        is_free = mark.state is MoveState.ARRIVING and mark.place == here and is_same
    if not is_free:
        raise _not_empty(target)


def _not_empty(target: Settings) -> ConfigurationError:
    return ConfigurationError(f"{_place(target)} isn't empty. Move to a new database.")


def _prepare_target(target: Settings, server_role: str | None) -> Migrated:
    migrated = migrate(target, server_role, owner_wanted=_TARGET)
    if migrated.row_security is not None and migrated.row_security.left:
        raise ConfigurationError(
            "The role in --to can't create the servers' roles. Run keystead migrate with its URL in --database, which"
            " prints what an administrator has to run; then run this again. Nothing was moved."
        )
    return migrated


def _mark_arriving(source: ExclusiveDatabase, target: Settings, mark: MoveMark) -> None:
    with _exclusive(target, _TARGET) as database:
        _require_unused(source, database, target, mark.place)
        database.set_mark(mark)
        database.commit()


def _copy(
    source: ExclusiveDatabase, target: Settings, mark: MoveMark, on_step: OnStep
) -> list[CopiedTable]:
    with _exclusive(target, _TARGET) as database:
        if database.mark() != mark:
            raise _not_empty(target)
        tables = copy_all(source, database, on_step)
        database.commit()
    return tables


def _arrive(target: Settings, mark: MoveMark) -> None:
    """Let servers use the target of a move whose source was given up."""
    with _exclusive(target, _TARGET) as database:
        present = database.mark()
        if present is None or present.id != mark.id:
            raise not_here(mark)
        database.remove_mark()
        database.commit()


@contextmanager
def _exclusive(settings: Settings, owner_wanted: str) -> Iterator[ExclusiveDatabase]:
    """Open the database as its owner, alone."""
    try:
        with as_owner(owner_wanted), _unopened(settings) as database:
            yield database
    except InUse as error:
        raise ConfigurationError(str(error)) from None
    except CopyFailed as error:
        raise ConfigurationError(f"{error} Nothing was moved.") from None


def _unopened(settings: Settings) -> ExclusiveDatabase:
    if settings.is_embedded:
        from keystead.storage.moving.sqlite import ExclusiveSqlite

        return ExclusiveSqlite(database_file(settings))
    from keystead.storage.moving.postgresql import ExclusivePostgresql

    return ExclusivePostgresql(parse_url(settings.migration_database or settings.database_url))


def _carried(settings: Settings) -> tuple[str, ...]:
    """Return what servers need of this one's besides the database, if it is there."""
    peppers = "KEYSTEAD_PEPPERS" if settings.peppers is not None else settings.data / FILE_NAME
    log: Path = revocation_log_of(settings).path
    return (str(peppers), *([str(log)] if log.exists() else ()))
