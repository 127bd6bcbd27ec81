"""What a server needs before it starts: the data folder, the schema, row-level security, the peppers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keystead.domain.digest import Peppers
from keystead.domain.instants import format_instant
from keystead.operation.files import (
    OTHERS_OR_GROUP_WRITE,
    ConfigurationError,
    make_empty_file,
    make_folder,
    require_private,
)
from keystead.operation.peppers import FILE_NAME, make_peppers, parse_peppers, read_peppers
from keystead.operation.revocation_log_file import FILE_NAME as REVOCATION_LOG
from keystead.operation.revocation_log_file import RevocationLogFile
from keystead.services.restoration import forgotten
from keystead.settings import Settings
from keystead.storage.clock import clock_of
from keystead.storage.database import Database
from keystead.storage.engine.errors import StatementFault
from keystead.storage.engine.roles import Purpose
from keystead.storage.engine.urls import parse_url
from keystead.storage.maintenance import migrate as migrations
from keystead.storage.maintenance.backup import is_backup
from keystead.storage.maintenance.migrate import SchemaState, SchemaStatus
from keystead.storage.moving.marks import MoveMark, MoveState, find_mark
from keystead.storage.row_security.apply import Applied, apply_row_security, grant_owner_access
from keystead.storage.row_security.diff import (
    SERVER_ROLE,
    check_role_name,
    login_fault,
    owner_has_access,
    row_security_fault,
)
from keystead.storage.tables.credentials import pepper_ids_of_live_credentials
from keystead.storage.tables.keys import pepper_ids_of_live_keys
from keystead.storage.tables.webhooks import pepper_ids_of_webhooks


def prepare(settings: Settings) -> None:
    """Create what a first start needs, and check the rest.

    The embedded database is migrated; only `keystead migrate` changes a PostgreSQL.

    Raises:
        ConfigurationError: it would be unsafe to start.
        StorageError: the database is unavailable.
    """
    make_place(settings)
    with opened(settings) as database:
        prepare_database(settings, database)
        require_complete(settings, database)


def prepare_database(settings: Settings, database: Database) -> None:
    """Migrate the embedded database, or check a PostgreSQL; then check the peppers."""
    if settings.is_embedded:
        _upgrade(database)
        require_schema(database)
        require_not_moved(database)
    else:
        _require_role(database)
        require_schema(database)
        require_not_moved(database)
        require_row_security(database)
    require_peppers(settings, database, may_make=settings.is_embedded)


def revocation_log_of(settings: Settings) -> RevocationLogFile:
    """Return the log of the revocations that this server acknowledged."""
    return RevocationLogFile(settings.data / REVOCATION_LOG)


def require_complete(settings: Settings, database: Database) -> None:
    """Raise ConfigurationError if the database is a backup, or lacks revocations that this server acknowledged."""
    if settings.is_embedded and is_backup(database):
        raise ConfigurationError(
            "The database is a backup that was not restored by keystead: keys that were revoked since would"
            " work again. Run: keystead restore"
        )
    lost = forgotten(database, revocation_log_of(settings).read())
    if lost:
        raise ConfigurationError(
            f"The database is older than the one that this server used, or a different one: it lacks"
            f" {len(lost)} revocation{'s' * (len(lost) != 1)}, the last at {format_instant(lost[-1].at)}."
            " Run: keystead restore"
        )


@dataclass(frozen=True)
class Migrated:
    """The schema before the migration, and what was done for row-level security (None on SQLite)."""

    before: SchemaState
    row_security: Applied | None = None


def migrate(
    settings: Settings,
    server_role: str | None = None,
    *,
    enforce: bool = False,
    owner_wanted: str = "set KEYSTEAD_MIGRATION_DATABASE to the URL of the tables' owner",
) -> Migrated:
    """Migrate the database to this version's schema, and apply row-level security to a PostgreSQL.

    Args:
        server_role: the login of the servers.
        enforce: no server of a version before row-level security runs any longer.
        owner_wanted: what to do if the role may not change the schema.
    """
    server = _checked_role(server_role or _server_role(settings))
    make_place(settings)
    with opened(settings, settings.migration_database) as database:
        before = migrations.state(database)
        if before.status is SchemaStatus.AHEAD:
            raise _newer_schema(before)
        if before.status is SchemaStatus.EMPTY and find_peppers(settings) is None:
            # Only here, on the first server: one that made its own could not verify keys of the first.
            make_peppers(settings.data / FILE_NAME)
        if settings.is_embedded:
            _upgrade(database)
            require_peppers(settings, database, may_make=True)
            return Migrated(before)
        with as_owner(owner_wanted):
            # A migration may update rows, which forced row-level security hides from their owner.
            was_hidden = before.status is SchemaStatus.BEHIND and grant_owner_access(database)
            _upgrade(database)
            require_peppers(settings, database, may_make=False)
            fresh = before.status is SchemaStatus.EMPTY
            return Migrated(
                before,
                apply_row_security(database, server, fresh=fresh, enforce=enforce or was_hidden),
            )


@contextmanager
def as_owner(wanted: str) -> Iterator[None]:
    """Raise ConfigurationError with what is `wanted` if the role of this connection isn't the tables' owner."""
    try:
        yield
    except StatementFault as fault:
        if not fault.is_forbidden:
            raise
        raise ConfigurationError(
            f"This role may not change the database's schema: {wanted}"
        ) from None


def _server_role(settings: Settings) -> str:
    """Return the login in the servers' own URL, if the owner has a separate one."""
    if settings.migration_database is None:
        return SERVER_ROLE
    return parse_url(settings.database_url).username or SERVER_ROLE


def _checked_role(server: str) -> str:
    try:
        return check_role_name(server)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _require_role(database: Database) -> None:
    """Raise ConfigurationError if row-level security would not bind the login."""
    with database.read_across(Purpose.SERVER) as tx:
        fault = login_fault(tx)
    if fault is not None:
        raise ConfigurationError(f"{fault}. {_role_wanted()}")


def _role_wanted() -> str:
    from keystead.operation.checks import ROLE_WANTED  # with an HTTP client, for `keystead doctor`

    return ROLE_WANTED


def require_row_security(database: Database) -> bool:
    """Raise ConfigurationError unless row-level security is as declared. Returns whether the owner sees all rows."""
    with database.read_across(Purpose.SERVER) as tx:
        fault = row_security_fault(tx)
        is_open_to_owner = owner_has_access(tx)
    if fault is not None:
        raise ConfigurationError(f"Row security is not in order: {fault}; run: keystead migrate")
    return is_open_to_owner


def make_place(settings: Settings) -> None:
    """Create the private data folder and, for the embedded database, its file."""
    make_folder(settings.data)
    if settings.is_embedded:
        make_folder(database_file(settings).parent)
        make_empty_file(database_file(settings))
    require_private_place(settings)


def require_private_place(settings: Settings) -> str:
    """Raise ConfigurationError if others may read the folder, the database, the peppers or the revocation log."""
    require_private(settings.data, "The data folder", OTHERS_OR_GROUP_WRITE)
    require_private(settings.data / FILE_NAME, "The pepper file")
    require_private(settings.data / REVOCATION_LOG, "The revocation log")
    if settings.is_embedded:
        file = database_file(settings)
        require_private(file.parent, "The database's folder", OTHERS_OR_GROUP_WRITE)
        require_private(file, "The database", OTHERS_OR_GROUP_WRITE)
    return "Data folder, database and peppers are private."


def database_file(settings: Settings) -> Path:
    """Return the file of the embedded database."""
    return Path(settings.database_url.removeprefix("sqlite:///").partition("?")[0])


def find_peppers(settings: Settings) -> Peppers | None:
    """Return the peppers of the environment, else of the file; None without either."""
    if settings.peppers is not None:
        # In the environment on one line, in a file of the folder `secrets` on several.
        entries = settings.peppers.get_secret_value().replace("\n", ",").split(",")
        return parse_peppers(entries, "KEYSTEAD_PEPPERS")
    return read_peppers(settings.data / FILE_NAME)


def _upgrade(database: Database) -> None:
    if migrations.state(database).status in {SchemaStatus.EMPTY, SchemaStatus.BEHIND}:
        migrations.upgrade(database)


def require_schema(database: Database) -> SchemaState:
    """Raise ConfigurationError unless the schema is this version's."""
    try:
        state = migrations.state(database)
    except StatementFault as fault:
        if not fault.is_forbidden:
            raise
        raise ConfigurationError(
            f"This role may not read the schema's revision. {_role_wanted()}"
        ) from None
    match state.status:
        case SchemaStatus.AHEAD:
            raise _newer_schema(state)
        case SchemaStatus.EMPTY | SchemaStatus.BEHIND:
            raise ConfigurationError(
                f"The database's schema is {state.status}; run: keystead migrate"
            )
        case SchemaStatus.CURRENT:
            return state


def require_not_moved(database: Database) -> None:
    """Raise ConfigurationError if the installation was moved to another database, or has not arrived in this one."""
    mark = find_mark(database)
    if mark is not None:
        raise not_here(mark)


def not_here(mark: MoveMark) -> ConfigurationError:
    """Return the error for a database with this mark."""
    if mark.state is MoveState.ARRIVING:
        return ConfigurationError(
            f"This database holds an unfinished move from {mark.place}: run the same keystead move again"
        )
    return ConfigurationError(
        f"This installation was moved to {mark.place} at {format_instant(mark.at)}: set KEYSTEAD_DATABASE"
        " to that database. To use this one again, run: keystead move --undo"
    )


def require_peppers(settings: Settings, database: Database, *, may_make: bool) -> Peppers:
    """Raise ConfigurationError if there is no pepper, or a pepper of live keys is missing.

    `may_make`: create a first pepper, unless live keys need another.
    """
    with database.read_across(Purpose.SERVER) as tx:
        needed = pepper_ids_of_live_keys(tx, clock_of(database).now())
        needed |= pepper_ids_of_live_credentials(tx) | pepper_ids_of_webhooks(tx)
    peppers = find_peppers(settings)
    if peppers is None and may_make and not needed:
        peppers = make_peppers(settings.data / FILE_NAME)
    if peppers is None:
        raise ConfigurationError(no_peppers(settings))
    missing = needed - peppers.ids
    if missing:
        raise ConfigurationError(
            f"Live keys need the pepper {min(missing)}, which is missing: put it back into "
            f"KEYSTEAD_PEPPERS or {settings.data / FILE_NAME}; without it these keys cannot be verified."
        )
    return peppers


def no_peppers(settings: Settings) -> str:
    """Return the text of the error for a missing pepper."""
    return (
        f"There is no pepper: set KEYSTEAD_PEPPERS, or copy the file {FILE_NAME} of the server where this "
        f"installation was created to {settings.data / FILE_NAME} (mode 0600)."
    )


@contextmanager
def opened(settings: Settings, url: str | None = None) -> Iterator[Database]:
    """Open the database of the settings, or of `url`, and close it at the end."""
    database = Database(url or settings.database_url)
    try:
        yield database
    finally:
        database.close()


def _newer_schema(state: SchemaState) -> ConfigurationError:
    return ConfigurationError(
        f"The database is at revision {state.found}, which a newer Keystead wrote; this one knows it up to"
        f" {state.needed}: install the newer version again. A database from before the first release can't be"
        " migrated: start with a new one."
    )
