"""The checks of `keystead doctor` on an installation. They change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.bootstrap.preparation import (
    database_file,
    opened,
    require_not_moved,
    require_peppers,
    require_row_security,
    require_schema,
)
from keystead.settings import Settings
from keystead.storage.maintenance import migrate as migrations
from keystead.storage.maintenance.inspection import inspect_database
from keystead.storage.maintenance.migrate import SchemaState, SchemaStatus

if TYPE_CHECKING:
    from keystead.operation.checks import Finding


def has_begun(settings: Settings) -> bool:
    """Return whether a database exists: PostgreSQL always, the embedded one once it has a file."""
    return not settings.is_embedded or database_file(settings).exists()


def examine_database(settings: Settings) -> list[Finding]:
    """Check the database's engine and configuration. Raises a storage error if it is unavailable."""
    from keystead.operation import checks

    with opened(settings) as database:
        facts = inspect_database(database)
    findings = [
        checks.check_engine(facts.engine, facts.version),
        checks.check_durability(facts.engine, facts.keeps),
        checks.check_clock(facts.now),
    ]
    if settings.is_embedded:
        return findings
    findings.append(checks.check_role(facts.role_fault))
    return findings


def schema_state(settings: Settings) -> SchemaState:
    """Return the state of the database's schema, without creating a file."""
    if not has_begun(settings):
        return SchemaState(None, migrations.newest_revision(), SchemaStatus.EMPTY)
    with opened(settings) as database:
        return migrations.state(database)


def check_schema(settings: Settings) -> str:
    """Raise ConfigurationError unless the schema is this version's, and the installation still here."""
    with opened(settings) as database:
        state = require_schema(database)
        require_not_moved(database)
    return f"The schema is current, at revision {state.found}."


def check_row_security(settings: Settings) -> str:
    """Raise ConfigurationError unless row-level security is as declared."""
    with opened(settings) as database:
        owner_has_access = require_row_security(database)
    if owner_has_access:
        return (
            "Row security is in force, but not for the tables' owner, because older servers need that. "
            "When none of them runs any longer, run: keystead migrate --enforce"
        )
    return "Row security is in force."


def check_peppers(settings: Settings) -> str:
    """Raise ConfigurationError unless every pepper that live keys need is available."""
    with opened(settings) as database:
        peppers = require_peppers(settings, database, may_make=False)
    return f"New keys use the pepper {peppers.current.id}; available: {', '.join(sorted(peppers.ids))}."
