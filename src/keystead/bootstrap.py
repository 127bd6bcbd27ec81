"""The composition root: settings -> database -> services -> applications. The only file that knows everything."""

from __future__ import annotations

from dataclasses import dataclass

from keystead.domain.digest import Peppers
from keystead.services import Services
from keystead.services.documents import Documents
from keystead.services.events import Events
from keystead.services.keys import Keys
from keystead.services.plans import Plans
from keystead.services.sign_in import SignIn
from keystead.services.usage import Usage
from keystead.services.verifier import Verifier
from keystead.services.workspaces import Workspaces
from keystead.settings import Settings
from keystead.storage.clock import Clock, clock_of
from keystead.storage.database import Database
from keystead.storage.lookup import Lookup, lookup_of


@dataclass(frozen=True)
class Installation:
    """One process's share of an installation: the services and what they stand on."""

    settings: Settings
    database: Database
    lookup: Lookup
    services: Services

    def close(self) -> None:
        """Writes what was noted and gives the connections back."""
        try:
            self.services.usage.flush()
        finally:
            self.lookup.close()
            self.database.close()


def open_installation(
    settings: Settings, peppers: Peppers, clock: Clock | None = None
) -> Installation:
    """The services over the database that the settings name, which is migrated already."""
    database = Database(settings.database_url)
    lookup = lookup_of(database)
    services = _services(settings, peppers, database, lookup, clock or clock_of(database))
    return Installation(settings, database, lookup, services)


def _services(
    settings: Settings, peppers: Peppers, database: Database, lookup: Lookup, clock: Clock
) -> Services:
    usage = Usage(database)
    keys = Keys(
        database,
        clock,
        peppers,
        settings.catalog,
        prefix=settings.token_prefix,
        plans_url=settings.plans_url,
    )
    return Services(
        keys=keys,
        verifier=Verifier(lookup, peppers, clock, usage),
        usage=usage,
        events=Events(database),
        plans=Plans(database, clock),
        workspaces=Workspaces(database, clock),
        sign_in=SignIn(database, clock),
        documents=Documents(database, clock, plans_url=settings.plans_url),
    )
