"""The use cases: one method, one transaction, its event inside. Rights first, then rules, then rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import RLock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    from keystead.services.key_lists import KeyLists
    from keystead.services.key_owners import KeyOwners
    from keystead.services.keys import Keys
    from keystead.services.members import Members
    from keystead.services.notifications import NotificationDigests, NotificationPreferences
    from keystead.services.plans import Plans
    from keystead.services.policies import Policies
    from keystead.services.portal import PortalSessions
    from keystead.services.rate_limits import KeyRates, WorkspaceRates
    from keystead.services.renewals import Renewals
    from keystead.services.revocation import Revocation
    from keystead.services.rotations import Rotations
    from keystead.services.sign_in import SignIn
    from keystead.services.usage import Usage
    from keystead.services.usage_reports import UsageReports
    from keystead.services.verifier import CredentialVerifier, Introspection, Verifier
    from keystead.services.webhook_health import WebhookHealth
    from keystead.services.webhooks import Webhooks
    from keystead.services.workspaces import Workspaces


class Services:
    """All use cases over one database, for the front doors, and where their calls run.

    Each is composed when it is first used: a command of the command line uses one or two of them. A server composes
    all when it starts.
    """

    execution: Execution
    keys: Keys
    rotations: Rotations
    renewals: Renewals
    first_uses: FirstUses
    key_lists: KeyLists
    key_owners: KeyOwners
    key_rates: KeyRates
    workspace_rates: WorkspaceRates
    verifier: Verifier
    usage: Usage
    usage_reports: UsageReports
    events: Events
    feed: Feed
    plans: Plans
    policies: Policies
    workspaces: Workspaces
    deletion: Deletion
    exports: Exports
    sign_in: SignIn
    device_logins: DeviceLogins
    documents: Documents
    accounts: Accounts
    members: Members
    invitations: Invitations
    portal_sessions: PortalSessions
    credentials: Credentials
    credential_verifier: CredentialVerifier
    webhooks: Webhooks
    webhook_health: WebhookHealth
    deliveries: Deliveries
    notification_digests: NotificationDigests
    confirmations: Confirmations
    notification_preferences: NotificationPreferences
    introspection: Introspection
    revocation: Revocation

    def __init__(self, composers: Mapping[str, Callable[[], object]]) -> None:
        self._composers = composers
        self._composing = RLock()  # one use case may depend on others

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            """Compose a use case; Python calls this only for an attribute that is not set yet."""
            if name not in self._composers:
                raise AttributeError(name)
            with self._composing:
                if name not in self.__dict__:
                    self.__dict__[name] = self._composers[name]()
                return self.__dict__[name]

    def is_composed(self, name: str) -> bool:
        """Return whether that use case was used."""
        return name in self.__dict__

    def compose(self) -> None:
        """Compose all use cases."""
        for name in self._composers:
            getattr(self, name)
