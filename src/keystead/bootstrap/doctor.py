"""What the doctor looks at of an installation, changing nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.bootstrap.preparation import (
    database_file,
    opened,
    require_peppers,
    require_row_security,
    require_schema,
)
from keystead.settings import Settings
from keystead.storage.maintenance import migrate as migrations
from keystead.storage.maintenance.inspection import look_at
from keystead.storage.maintenance.migrate import SchemaState, SchemaStatus

if TYPE_CHECKING:
    from keystead.operation.checks import Finding


def has_begun(settings: Settings) -> bool:
    """Return whether there is a database to look at: a PostgreSQL always, the embedded one once its file is there."""
    return not settings.is_embedded or database_file(settings).exists()


def examine_database(settings: Settings) -> list[Finding]:
    """Return what is to be said of the database's engine and its configuration. A storage error where it is away."""
    from keystead.operation import checks

    with opened(settings) as database:
        facts = look_at(database)
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
    """Return how the database's schema stands. Looking makes no file."""
    if not has_begun(settings):
        return SchemaState(None, migrations.newest_revision(), SchemaStatus.EMPTY)
    with opened(settings) as database:
        return migrations.state(database)


def check_schema(settings: Settings) -> str:
    """ConfigurationError unless the schema is this version's."""
    with opened(settings) as database:
        return f"The schema is current, at revision {require_schema(database).found}."


def check_row_security(settings: Settings) -> str:
    """ConfigurationError unless row security is as this version has it."""
    with opened(settings) as database:
        open_still = require_row_security(database)
    if open_still:
        return (
            "Row security is in force, but not on the tables' owner, as older servers need it: when none of them "
            "runs any more, run keystead migrate --enforce"
        )
    return "Row security is in force."


def check_peppers(settings: Settings) -> str:
    """ConfigurationError unless every pepper that live keys need is at hand."""
    with opened(settings) as database:
        peppers = require_peppers(settings, database, may_make=False)
    return (
        f"New keys use the pepper {peppers.current.id}; at hand: {', '.join(sorted(peppers.ids))}."
    )
