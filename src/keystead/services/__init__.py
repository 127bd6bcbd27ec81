"""The use cases: one method, one transaction, its event inside. Rights first, then rules, then rows."""

from __future__ import annotations

from dataclasses import dataclass

from keystead.services.accounts import Accounts
from keystead.services.confirmations import Confirmations
from keystead.services.credentials import Credentials
from keystead.services.deliveries import Deliveries
from keystead.services.documents import Documents
from keystead.services.events import Events
from keystead.services.execution import Execution
from keystead.services.invitations import Invitations
from keystead.services.key_lists import KeyLists
from keystead.services.keys import Keys
from keystead.services.members import Members
from keystead.services.notifications import NotificationDigests, NotificationPreferences
from keystead.services.plans import Plans
from keystead.services.portal import PortalSessions
from keystead.services.rate_limits import KeyRates
from keystead.services.revocation import Revocation
from keystead.services.sign_in import SignIn
from keystead.services.usage import Usage
from keystead.services.verifier import CredentialVerifier, Introspection, Verifier
from keystead.services.webhooks import Webhooks
from keystead.services.workspaces import Workspaces


@dataclass(frozen=True)
class Services:
    """All use cases over one database, for the front doors, and where their calls run."""

    execution: Execution
    keys: Keys
    key_lists: KeyLists
    key_rates: KeyRates
    verifier: Verifier
    usage: Usage
    events: Events
    plans: Plans
    workspaces: Workspaces
    sign_in: SignIn
    documents: Documents
    accounts: Accounts
    members: Members
    invitations: Invitations
    portal_sessions: PortalSessions
    credentials: Credentials
    credential_verifier: CredentialVerifier
    webhooks: Webhooks
    deliveries: Deliveries
    notification_digests: NotificationDigests
    confirmations: Confirmations
    notification_preferences: NotificationPreferences
    introspection: Introspection
    revocation: Revocation
