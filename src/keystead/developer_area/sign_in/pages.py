"""The base of the pages of a workspace."""

from __future__ import annotations

from dataclasses import dataclass

from keystead.developer_area.sign_in.session import Sessions
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import QuotaLine
from keystead.developer_area.web.render import Renderer
from keystead.services import Services


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What all pages are built from. `base_url` is this server's public URL, without a trailing slash."""

    services: Services
    render: Renderer
    sessions: Sessions
    base_url: str


class WorkspacePages:
    """Base of the handlers of a workspace's pages."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._services = dependencies.services
        self._render = dependencies.render
        self._sessions = dependencies.sessions
        self._base_url = dependencies.base_url

    def _quota(self, visit: MemberVisit, limit: str, noun: str) -> QuotaLine:
        """Return the use of a limit of the workspace's plan."""
        use = self._services.plans.use(visit.principal)
        return QuotaLine.of(use.quotas[limit], noun, use.plan.name)
