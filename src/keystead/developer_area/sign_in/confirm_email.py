"""The page behind a confirmation letter's link: looking at it changes nothing, its button confirms the email."""

from __future__ import annotations

from starlette.responses import Response

from keystead.developer_area.sign_in.contexts import ConfirmEmailPage
from keystead.developer_area.sign_in.session import Visit, bind
from keystead.developer_area.web.contexts import Link, RefusalPage
from keystead.developer_area.web.render import Renderer
from keystead.domain.errors import EmailTaken, Invalid
from keystead.domain.token import Secret
from keystead.services import Services

_SIGN_IN = Link("Sign in", "/sign-in")


class ConfirmEmail:
    """Whoever opens the link reads the email's mail; they need no session, and get none."""

    def __init__(self, services: Services, render: Renderer) -> None:
        self._confirmations = services.confirmations
        self._render = render

    def look(self, visit: Visit) -> Response:
        """Ask whether to use the link."""
        link = visit.query("link")
        try:
            user, email = self._confirmations.find(Secret(link))
        except Invalid:
            return self._spent(404)
        page = ConfirmEmailPage(visit.form_token, link, user.name, email)
        return bind(visit, self._render(page))

    def confirm(self, visit: Visit) -> Response:
        """Use the link."""
        try:
            user = self._confirmations.confirm(Secret(visit.form.one("link")), visit.origin)
        except Invalid:
            return self._spent(422)
        except EmailTaken:
            return self._refuse(
                "This email already has an account",
                "Another account signs in with it, so nothing was changed. Sign in with that account instead.",
                409,
            )
        return bind(
            visit,
            self._render(ConfirmEmailPage(visit.form_token, None, user.name, user.email or "")),
        )

    def _spent(self, status: int) -> Response:
        return self._refuse(
            "This link has expired or was already used",
            "Sign in and ask for a new confirmation email on your account page.",
            status,
        )

    def _refuse(self, title: str, text: str, status: int) -> Response:
        return self._render(RefusalPage(title, text, _SIGN_IN), status)
