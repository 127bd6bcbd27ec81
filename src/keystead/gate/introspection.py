"""`POST /introspect` (RFC 7662): is this token active? For the product's services, with a credential of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Final

from keystead.domain.credentials import ActingCredential, CredentialKind
from keystead.domain.errors import (
    InvalidRequest,
    InvalidToken,
    KeysteadError,
    NotFound,
    Unauthenticated,
)
from keystead.domain.product import OURS, Product
from keystead.gate.answers import IntrospectionAnswers, OAuthProblems, read_form
from keystead.http import basic
from keystead.http.asgi import Answer, Receive, Scope, Send, send_answer
from keystead.http.client import Network, note_route, read_address, record_of
from keystead.http.problems import MethodNotAllowed
from keystead.http.stack import OnResponse, Stack
from keystead.services import Services

PATH: Final = "/introspect"
LOG_SECONDS: Final = 60.0
"""Log each calling credential at most once per this many seconds: some introspect for each of their own requests."""


class Introspection:
    """The ASGI application for services, with its own `Stack`, so that all its refusals have OAuth's members."""

    def __init__(
        self,
        services: Services,
        base_url: str,
        *,
        product: Product = OURS,
        proxies: Sequence[Network] = (),
        on_response: OnResponse | None = None,
    ) -> None:
        """`base_url`: where the pages of problems are, without a slash at the end."""
        self._services, self._problems = services, OAuthProblems(base_url, product)
        self._answers = IntrospectionAnswers(self._problems.server)
        self._log_due: dict[str, float] = {}
        self._stack = Stack(
            self._introspect, self._problems, proxies=proxies, on_response=on_response
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        await self._stack(scope, receive, send)

    async def _introspect(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate the caller, then read the form, then look the token up. Runs behind the stack."""
        if scope["path"] != PATH:
            raise NotFound
        note_route(scope, PATH)
        if scope["method"] != "POST":
            raise MethodNotAllowed("POST")
        try:
            caller = await self._authenticate(scope)
        except (Unauthenticated, InvalidToken) as refusal:
            await send_answer(send, self._challenged(refusal))
            return
        record = record_of(scope)
        record.key_id, record.is_routine = caller.id, not self._is_due(caller)
        form = await read_form(scope, receive, "token")
        active = await self._services.introspection.introspect(form["token"], _address(form))
        await self._answers.send(active, send)

    async def _authenticate(self, scope: Scope) -> ActingCredential:
        presented = basic.read_client(scope["headers"])
        caller = await self._services.credential_verifier.verify(presented.token, *CredentialKind)
        if presented.client_id not in {None, caller.id}:
            raise InvalidToken
        return caller

    def _is_due(self, caller: ActingCredential) -> bool:
        """Return whether to log this caller again; only the log shows which credentials are in use."""
        now = monotonic()
        if now < self._log_due.get(caller.id, now):
            return False
        self._log_due[caller.id] = now + LOG_SECONDS
        return True

    def _challenged(self, refusal: KeysteadError) -> Answer:
        """Return the answer with a challenge for Basic as well, which only this call accepts."""
        answer = self._problems.answer(refusal)
        basic_challenge = basic.challenge(self._problems.product.realm)
        return replace(answer, headers=(*answer.headers, basic_challenge))


def _address(form: Mapping[str, str]) -> str | None:
    """Return the field `ip`: the address of the service's own caller, None if it was not sent."""
    text = form.get("ip")
    address = None if text is None else read_address(text)
    if text is not None and address is None:
        raise InvalidRequest("The field `ip` must be an IPv4 or IPv6 address.")
    return address
