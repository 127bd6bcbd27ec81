"""The base of the pages of webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.responses import Response

from keystead.developer_area.sign_in.session import WorkspacePages
from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.contexts import Difference
from keystead.developer_area.web.forms import new_nonce
from keystead.developer_area.webhooks.contexts import WebhookFormPage, WebhookSecretPage
from keystead.developer_area.webhooks.forms import WebhookEntry
from keystead.domain.ids import WebhookId
from keystead.domain.roles import Permission
from keystead.domain.webhooks import WebhookEndpoint
from keystead.services.webhooks import CreatedWebhook

_VERIFY: Final = """from standardwebhooks import Webhook

event = Webhook(secret).verify(request.body, request.headers)
"""


class WebhookPages(WorkspacePages):
    """Base of the handlers of webhooks."""

    def _webhook(self, visit: MemberVisit) -> WebhookEndpoint:
        """Return the webhook in the path. NotFound."""
        return self._services.webhooks.get(visit.principal, WebhookId(visit.path("webhook_id")))

    def _managed_webhook(self, visit: MemberVisit) -> tuple[WebhookEndpoint, str]:
        """Return the webhook in the path, which the member wants to change, and its URL. Forbidden, NotFound."""
        visit.principal.require_permission(Permission.MANAGE_WEBHOOKS)
        webhook = self._webhook(visit)
        return webhook, f"{webhooks_url(visit)}/{webhook.id}"

    def _form(
        self,
        visit: MemberVisit,
        entry: WebhookEntry,
        webhook: WebhookEndpoint | None = None,
        problems: dict[str, str] | None = None,
        status: int = 200,
        differences: Sequence[Difference] | None = None,
    ) -> Response:
        """Show the form of a new or an existing webhook."""
        url = webhooks_url(visit)
        webhook_url = url if webhook is None else f"{url}/{webhook.id}"
        page = WebhookFormPage(
            frame=visit.frame(),
            is_new=webhook is None,
            once=new_nonce() if webhook is None else "",
            version=None if webhook is None else webhook.version,
            differences=differences,
            is_full=webhook is None and self._quota(visit, "webhooks", "webhook").is_full,
            url=webhook_url if webhook is None else f"{webhook_url}/edit",
            back_url=webhook_url,
            problems=problems or {},
            name=entry.name,
            destination=entry.url,
            ranges=entry.ranges(),
            groups=entry.groups(self._services.keys.catalog),
            existing_headers=[] if webhook is None else entry.existing_headers(webhook),
            headers=entry.headers,
        )
        return self._render(page, status)

    def _secret_page(
        self, visit: MemberVisit, created: CreatedWebhook, status: int = 200
    ) -> Response:
        """Show a signing secret, in this response only."""
        webhook = created.endpoint
        page = WebhookSecretPage(
            frame=visit.frame(),
            name=webhook.name,
            secret=created.secret,
            overlap=visit.timestamp(webhook.secret_overlap_until),
            verify=_VERIFY,
            webhook_url=f"{webhooks_url(visit)}/{webhook.id}",
        )
        return self._render(page, status)


def webhooks_url(visit: MemberVisit) -> str:
    """Return the page of the workspace's webhooks."""
    return f"{visit.workspace_url}/webhooks"
