"""What all pages of webhooks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from keystead.developer_area.sign_in.session import Acting, Sessions, Visit
from keystead.developer_area.web.contexts import Difference, QuotaLine
from keystead.developer_area.web.navigation import workspace_url
from keystead.developer_area.web.render import Renderer
from keystead.developer_area.web.times import moment
from keystead.developer_area.webhooks.contexts import (
    WebhookFormPage,
    WebhookSecretPage,
)
from keystead.developer_area.webhooks.forms import WebhookEntry
from keystead.domain.ids import WebhookId
from keystead.domain.roles import Permission
from keystead.domain.step_up import SensitiveAction
from keystead.domain.webhooks import WebhookEndpoint
from keystead.services import Services
from keystead.services.webhooks import CreatedWebhook


class WebhookDesk:
    """What all pages of webhooks stand on."""

    def __init__(
        self, services: Services, render: Renderer, sessions: Sessions, *, plans_url: str | None
    ) -> None:
        self.services = services
        self.webhooks = services.webhooks
        self.render = render
        self.sessions = sessions
        self.plans_url = plans_url

    def acting(self, visit: Visit, *, to_change: bool = False) -> tuple[Acting, str]:
        """Who acts, and where the webhooks are. Forbidden for who may not change them, where that is asked."""
        acting = self.sessions.acting(visit)
        if to_change:
            acting.principal.require_permission(Permission.MANAGE_WEBHOOKS)
        return acting, f"{workspace_url(acting.workspace.id)}/webhooks"

    def require_recent_proof(self, acting: Acting) -> None:
        """Raise NotFresh before a form is shown, so that nothing is typed in vain."""
        acting.principal.require_recent_authentication(
            SensitiveAction.CHANGE_WEBHOOKS, self.services.keys.now()
        )

    def find(self, visit: Visit, acting: Acting) -> WebhookEndpoint:
        """The webhook that the address names."""
        return self.webhooks.get(acting.principal, WebhookId(visit.path("webhook_id")))

    def quota(self, acting: Acting) -> QuotaLine:
        """How many webhooks the plan has room for."""
        use = self.services.plans.use(acting.principal)
        quota = use.quotas["webhooks"]
        of = "" if quota.limit is None else f" of {quota.limit:,}"
        noun = "webhook" if (quota.limit or quota.used) == 1 else "webhooks"
        return QuotaLine(f"{quota.used:,}{of} {noun}", quota.used, quota.limit, use.plan.name)

    def form(
        self,
        visit: Visit,
        acting: Acting,
        entry: WebhookEntry,
        webhook: WebhookEndpoint | None = None,
        problems: dict[str, str] | None = None,
        status: int = 200,
        differences: Sequence[Difference] | None = None,
    ) -> Response:
        """The form of a new webhook, or of that one."""
        url = f"{workspace_url(acting.workspace.id)}/webhooks"
        here = url if webhook is None else f"{url}/{webhook.id}"
        page = WebhookFormPage(
            frame=self.sessions.frame(visit, acting),
            is_new=webhook is None,
            version=None if webhook is None else webhook.version,
            differences=differences,
            is_full=webhook is None and self.quota(acting).is_full,
            plans_url=self.plans_url,
            url=here if webhook is None else f"{here}/edit",
            back_url=here,
            problems=problems or {},
            name=entry.name,
            destination=entry.url,
            ranges=entry.ranges(),
            groups=entry.groups(),
            kept=[] if webhook is None else entry.kept(webhook),
            headers=entry.headers,
        )
        return self.render(page, status)

    def secret(
        self, visit: Visit, acting: Acting, created: CreatedWebhook, status: int = 200
    ) -> Response:
        """The answer that shows a secret, this once."""
        endpoint = created.endpoint
        overlap = endpoint.secret_overlap_until
        page = WebhookSecretPage(
            frame=self.sessions.frame(visit, acting),
            name=endpoint.name,
            secret=created.secret,
            overlap=None
            if overlap is None
            else moment(overlap, self.services.keys.now(), acting.zone),
            verify=_VERIFY,
            webhook_url=f"{workspace_url(acting.workspace.id)}/webhooks/{endpoint.id}",
        )
        return self.render(page, status)


_VERIFY: Final = """from standardwebhooks import Webhook

event = Webhook(secret).verify(request.body, request.headers)
"""
