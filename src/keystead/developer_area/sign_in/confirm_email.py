"""The page behind the link of a confirmation email. Opening it changes nothing; its button confirms the email."""

from __future__ import annotations

from starlette.responses import Response

from keystead.developer_area.sign_in.contexts import ConfirmEmailPage
from keystead.developer_area.sign_in.visits import Visit
from keystead.developer_area.web.contexts import ErrorPage
from keystead.developer_area.web.error_pages import SIGN_IN
from keystead.developer_area.web.render import Renderer
from keystead.domain.errors import EmailTaken, Invalid
from keystead.domain.token import Secret
from keystead.services import Services


class ConfirmEmailPages:
    """Confirming an email. The link proves access to the mailbox, so no session is needed or created."""

    def __init__(self, services: Services, render: Renderer) -> None:
        self._confirmations = services.confirmations
        self._render = render

    def confirm_form(self, visit: Visit) -> Response:
        """Ask whether to use the link."""
        link = visit.query("link")
        try:
            user, email = self._confirmations.find(Secret(link))
        except Invalid:
            return self._link_failed(404)
        return visit.bind(self._render(ConfirmEmailPage(visit.form_token, link, user.name, email)))

    def confirm(self, visit: Visit) -> Response:
        """Use the link."""
        try:
            user = self._confirmations.confirm(Secret(visit.form.one("link")), visit.origin)
        except Invalid:
            return self._link_failed(422)
        except EmailTaken:
            text = "Another account signs in with it, so nothing was changed. Sign in with that account instead."
            return self._render(ErrorPage("This email already has an account", text, SIGN_IN), 409)
        page = ConfirmEmailPage(visit.form_token, None, user.name, user.email or "")
        return visit.bind(self._render(page))

    def _link_failed(self, status: int) -> Response:
        title = "This link has expired or was already used"
        text = "Sign in and ask for a new confirmation email on your account page."
        return self._render(ErrorPage(title, text, SIGN_IN), status)
