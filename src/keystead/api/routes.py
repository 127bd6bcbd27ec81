"""The route table: every call of the API."""

from __future__ import annotations

from typing import Final

from keystead.api.collections import COLLECTIONS
from keystead.api.documents import DOCUMENTS
from keystead.api.events import EVENTS
from keystead.api.keys import KEYS
from keystead.api.operations import Operation
from keystead.api.operator.credentials import CREDENTIALS
from keystead.api.operator.deletion import DELETION
from keystead.api.operator.events import FEED, WORKSPACE_EVENTS
from keystead.api.operator.exports import EXPORTS
from keystead.api.operator.keys import LOOKUPS, WORKSPACE_KEYS
from keystead.api.operator.members import MEMBERS
from keystead.api.operator.plans import PLANS
from keystead.api.operator.policies import MANAGED_POLICIES
from keystead.api.operator.portal_sessions import PORTAL_SESSIONS
from keystead.api.operator.rate_limits import RATE_LIMITS
from keystead.api.operator.usage import ALL_USAGE
from keystead.api.operator.workspaces import EXTERNAL_WORKSPACES, MANAGED_WORKSPACES
from keystead.api.policies import POLICY
from keystead.api.renewals import RENEWALS
from keystead.api.usage import USAGE
from keystead.api.webhooks import DELIVERIES, WEBHOOKS
from keystead.api.workspaces import WORKSPACES

OPERATIONS: Final[tuple[Operation, ...]] = tuple(
    operation
    for operations in (
        WORKSPACES,
        POLICY,
        KEYS,
        RENEWALS,
        USAGE,
        COLLECTIONS,
        DOCUMENTS,
        EVENTS,
        WEBHOOKS,
        DELIVERIES,
        # Before the paths of one workspace: an external id may be called "plan".
        EXTERNAL_WORKSPACES,
        MANAGED_WORKSPACES,
        EXPORTS,
        DELETION,
        MANAGED_POLICIES,
        WORKSPACE_KEYS,
        LOOKUPS,
        RATE_LIMITS,
        MEMBERS,
        PLANS,
        FEED,
        WORKSPACE_EVENTS,
        ALL_USAGE,
        PORTAL_SESSIONS,
        CREDENTIALS,
    )
    for operation in operations
)
"""All calls, in the order of the OpenAPI document."""
TAGS_OF_DOCUMENTS: Final = frozenset({"collections", "documents"})


def operations_of(*, has_documents: bool) -> list[Operation]:
    """Return the calls of an installation with or without the document store."""
    return [each for each in OPERATIONS if has_documents or each.tag not in TAGS_OF_DOCUMENTS]
