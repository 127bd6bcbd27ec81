"""The use cases: one method, one transaction, its event inside. Rights first, then rules, then rows."""

from __future__ import annotations

from dataclasses import dataclass

from keystead.services.accounts import Accounts
from keystead.services.confirmations import Confirmations
from keystead.services.credential_verifier import CredentialVerifier
from keystead.services.credentials import Credentials
from keystead.services.deliveries import Deliveries
from keystead.services.documents import Documents
from keystead.services.events import Events
from keystead.services.introspection import Introspection
from keystead.services.invitations import Invitations
from keystead.services.keys import Keys
from keystead.services.members import Members
from keystead.services.notices import Notices
from keystead.services.notifications import Digests
from keystead.services.plans import Plans
from keystead.services.portal import PortalSessions
from keystead.services.rate_limits import KeyRates
from keystead.services.revocation import Revocation
from keystead.services.sign_in import SignIn
from keystead.services.usage import Usage
from keystead.services.verifier import Verifier
from keystead.services.webhooks import Webhooks
from keystead.services.workspaces import Workspaces


@dataclass(frozen=True)
class Services:
    """Every use case, over one database: what a front door is handed."""

    keys: Keys
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
    digests: Digests
    confirmations: Confirmations
    notices: Notices
    introspection: Introspection
    revocation: Revocation
