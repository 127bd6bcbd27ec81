"""Composing the use cases over one database: each is imported and made when it is first used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from keystead.domain.destinations import PORTS, Destinations
from keystead.domain.digest import Peppers
from keystead.services import Services
from keystead.settings import Settings
from keystead.storage.clock import Clock
from keystead.storage.database import Database
from keystead.storage.point_reads.by_id import PointReads
from keystead.storage.schema.verification_reads import CREDENTIAL, KEY, KEY_DETAILS

if TYPE_CHECKING:
    from keystead.operation.metrics.counters import Metrics
    from keystead.services.accounts import Accounts
    from keystead.services.confirmations import Confirmations
    from keystead.services.credentials import Credentials
    from keystead.services.deletion import Deletion
    from keystead.services.deliveries import Deliveries
    from keystead.services.device_logins import DeviceLogins
    from keystead.services.documents import Documents
    from keystead.services.events import Events
    from keystead.services.execution import Execution
    from keystead.services.exports import Exports
    from keystead.services.feed import Feed
    from keystead.services.first_uses import FirstUses
    from keystead.services.invitations import Invitations
    from keystead.services.isolation import OnFailure
    from keystead.services.key_issuer import KeyIssuer
    from keystead.services.key_lists import KeyLists
    from keystead.services.key_owners import KeyOwners
    from keystead.services.keys import Keys
    from keystead.services.members import Members
    from keystead.services.notifications import NotificationDigests, NotificationPreferences
    from keystead.services.passwords import Passwords
    from keystead.services.plans import Plans
    from keystead.services.policies import Policies
    from keystead.services.portal import PortalSessions
    from keystead.services.rate_limits import KeyRates, RateLimiter, WorkspaceRates
    from keystead.services.renewals import Renewals
    from keystead.services.revocation import Revocation
    from keystead.services.rotations import Rotations
    from keystead.services.sign_in import SignIn
    from keystead.services.throttle import Throttle
    from keystead.services.usage import Usage
    from keystead.services.usage_reports import UsageReports
    from keystead.services.verifier import (
        CredentialCache,
        CredentialVerifier,
        Introspection,
        IntrospectionCache,
        KeyCache,
        Verifier,
    )
    from keystead.services.webhook_health import WebhookHealth
    from keystead.services.webhooks import Webhooks
    from keystead.services.workspaces import Workspaces
    from keystead.storage.freshness.generation_file import GenerationFile


@dataclass(frozen=True)
class Composition:
    """What the use cases depend on. A method makes each of `Services`: that of its name with an underscore."""

    settings: Settings
    peppers: Peppers
    database: Database
    reads: PointReads
    clock: Clock
    on_failure: OnFailure
    metrics: Metrics | None = None
    rates: RateLimiter | None = None
    given_passwords: Passwords | None = None

    @cached_property
    def services(self) -> Services:
        """The use cases, of which some depend on others."""
        return Services({name: getattr(self, f"_{name}") for name in Services.__annotations__})

    @cached_property
    def passwords(self) -> Passwords:
        """The slow hash of passwords, whose bounds all use cases share."""
        from keystead.services.passwords import Passwords

        return self.given_passwords or Passwords(product=self.settings.product_name)

    @cached_property
    def key_issuer(self) -> KeyIssuer:
        """The issuer of new keys' tokens."""
        from keystead.services.key_issuer import KeyIssuer

        return KeyIssuer(self.peppers, prefix=self.settings.token_prefix)

    def _execution(self) -> Execution:
        from keystead.services.execution import Execution

        return Execution(is_sqlite=self.database.is_sqlite)

    def _keys(self) -> Keys:
        from keystead.services.keys import Keys

        return Keys(
            self.database,
            self.clock,
            self.key_issuer,
            self.settings.catalog,
            plans_url=self.settings.plans_url,
        )

    def _rotations(self) -> Rotations:
        from keystead.services.rotations import Rotations

        plans_url = self.settings.plans_url
        return Rotations(self.database, self.clock, self.key_issuer, plans_url=plans_url)

    def _renewals(self) -> Renewals:
        from keystead.services.renewals import Renewals

        return Renewals(self.database, self.clock, self.key_issuer)

    def _first_uses(self) -> FirstUses:
        from keystead.services.first_uses import FirstUses

        overlap = timedelta(seconds=self.settings.renewal_overlap_seconds)
        return FirstUses(self.database, self.clock, overlap)

    def _key_lists(self) -> KeyLists:
        from keystead.services.key_lists import KeyLists

        return KeyLists(self.database, self.clock)

    def _key_owners(self) -> KeyOwners:
        from keystead.services.key_owners import KeyOwners

        services, lookup = self.services, self.reads.lookup(KEY)
        return KeyOwners(lookup, self.peppers, services.keys, services.workspaces, self._throttle())

    def _key_rates(self) -> KeyRates:
        from keystead.services.rate_limits import KeyRates

        return KeyRates(self.database, self.clock)

    def _workspace_rates(self) -> WorkspaceRates:
        from keystead.services.rate_limits import WorkspaceRates

        return WorkspaceRates(self.database, self.clock)

    def _verifier(self) -> Verifier:
        from keystead.services.verification_cache import VerificationCache

        file = self._generation_file
        return self._verifier_of(None if file is None else VerificationCache(file), self.rates)

    def _usage(self) -> Usage:
        from keystead.services.usage import Usage

        return Usage(self.database, self.clock, self.on_failure)

    def _usage_reports(self) -> UsageReports:
        from keystead.services.usage_reports import UsageReports

        return UsageReports(self.database, self.clock)

    def _events(self) -> Events:
        from keystead.services.events import Events

        return Events(self.database)

    def _feed(self) -> Feed:
        from keystead.services.feed import Feed

        return Feed(self.database, self.clock, self.on_failure)

    def _plans(self) -> Plans:
        from keystead.services.plans import Plans

        has_documents = self.settings.features.collections
        return Plans(self.database, self.clock, has_documents=has_documents)

    def _policies(self) -> Policies:
        from keystead.services.policies import Policies

        return Policies(self.database, self.clock)

    def _workspaces(self) -> Workspaces:
        from keystead.services.workspaces import Workspaces

        return Workspaces(self.database, self.clock)

    def _deletion(self) -> Deletion:
        from keystead.services.deletion import Deletion

        return Deletion(self.database, self.clock, self.on_failure)

    def _exports(self) -> Exports:
        from keystead.services.exports import Exports

        return Exports(self.database, self.clock)

    def _sign_in(self) -> SignIn:
        from keystead.services.sign_in import SignIn

        return SignIn(self.database, self.clock, self.passwords)

    def _documents(self) -> Documents:
        from keystead.services.documents import Documents

        return Documents(
            self.database,
            self.clock,
            plans_url=self.settings.plans_url,
            on_failure=self.on_failure,
        )

    def _device_logins(self) -> DeviceLogins:
        from keystead.services.device_logins import DeviceLogins

        return DeviceLogins(self.database, self.clock, self.services.keys, self._throttle())

    def _accounts(self) -> Accounts:
        from keystead.services.accounts import Accounts

        confirms = self.settings.smtp is not None
        return Accounts(self.database, self.clock, self.passwords, confirms=confirms)

    def _members(self) -> Members:
        from keystead.services.members import Members

        return Members(self.database, self.clock, plans_url=self.settings.plans_url)

    def _invitations(self) -> Invitations:
        from keystead.services.invitations import Invitations

        plans_url = self.settings.plans_url
        return Invitations(self.database, self.clock, self.passwords, plans_url=plans_url)

    def _portal_sessions(self) -> PortalSessions:
        from keystead.services.portal import PortalSessions

        return PortalSessions(
            self.database,
            self.clock,
            origins=self.settings.portal_origins,
            plans_url=self.settings.plans_url,
        )

    def _credentials(self) -> Credentials:
        from keystead.services.credentials import Credentials

        prefix = self.settings.token_prefix
        return Credentials(self.database, self.clock, self.peppers, prefix=prefix)

    def _credential_verifier(self) -> CredentialVerifier:
        from keystead.services.verification_cache import VerificationCache
        from keystead.services.verifier import CredentialVerifier

        lookup, file = self.reads.lookup(CREDENTIAL), self._generation_file
        cache: CredentialCache | None = None if file is None else VerificationCache(file)
        return CredentialVerifier(lookup, self.peppers, self.clock, cache)

    def _webhooks(self) -> Webhooks:
        from keystead.services.sealing import Sealing
        from keystead.services.webhooks import Webhooks

        return Webhooks(
            self.database,
            self.clock,
            Sealing(self.peppers),
            destinations_of(self.settings),
            self._throttle(),
            plans_url=self.settings.plans_url,
        )

    def _webhook_health(self) -> WebhookHealth:
        from keystead.services.webhook_health import WebhookHealth

        return WebhookHealth(self.database, self.clock, self._throttle())

    def _deliveries(self) -> Deliveries:
        from keystead.services.deliveries import Deliveries
        from keystead.services.sealing import Sealing

        return Deliveries(
            self.database,
            self.clock,
            Sealing(self.peppers),
            lease=timedelta(seconds=self.settings.webhook_lease_seconds),
            on_failure=self.on_failure,
        )

    def _notification_digests(self) -> NotificationDigests:
        from keystead.services.notifications import NotificationDigests

        return NotificationDigests(
            self.database, self.clock, base_url=self.settings.base_url, on_failure=self.on_failure
        )

    def _confirmations(self) -> Confirmations:
        from keystead.services.confirmations import Confirmations

        return Confirmations(
            self.database,
            self.clock,
            base_url=self.settings.base_url,
            product=self.settings.product_name,
            sends=self.settings.sends_mail,
            on_failure=self.on_failure,
        )

    def _notification_preferences(self) -> NotificationPreferences:
        from keystead.services.notifications import NotificationPreferences

        return NotificationPreferences(self.database, self.clock)

    def _introspection(self) -> Introspection:
        from keystead.services.verification_cache import VerificationCache
        from keystead.services.verifier import Introspection

        details, file = self.reads.lookup(KEY_DETAILS), self._generation_file
        cache: IntrospectionCache | None = None if file is None else VerificationCache(file)
        return Introspection(self._verifier_of(None), details, self.clock, cache)

    def _revocation(self) -> Revocation:
        from keystead.services.revocation import Revocation

        lookup = self.reads.lookup(KEY)
        return Revocation(lookup, self.peppers, self.services.keys, self._throttle())

    def _verifier_of(self, cache: KeyCache | None, rates: RateLimiter | None = None) -> Verifier:
        from keystead.services.verifier import Verifier

        on_verdict = None if self.metrics is None else self.metrics.on_verdict
        return Verifier(
            self.reads.lookup(KEY),
            self.peppers,
            self.clock,
            self.services.usage,
            self.services.first_uses,
            cache,
            on_verdict=on_verdict,
            rates=rates,
        )

    @property
    def _generation_file(self) -> GenerationFile | None:
        return self.database.generation_file if self.settings.caches_verifications else None

    def _throttle(self) -> Throttle:
        from keystead.services.throttle import Throttle

        return Throttle(self.database, self.clock)


def destinations_of(settings: Settings) -> Destinations:
    """Return the permitted destinations of webhooks."""
    return Destinations(
        private_networks=settings.webhook_private_networks,
        allow_http=settings.webhook_allow_http,
        ports=PORTS | settings.webhook_ports,
    )
