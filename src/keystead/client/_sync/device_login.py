"""Signing in at a terminal: the device authorization grant (RFC 8628)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from ssl import SSLContext
from types import TracebackType
from typing import TYPE_CHECKING, Self

from keystead.client._sync.sending import Sender
from keystead.client.errors import Problem
from keystead.client.exchange import AGENT, TIMEOUT, Patience, next_interval
from keystead.client.requests import FORM, Request, form_body
from keystead.client.results import DeviceCode, DeviceToken
from keystead.domain.device_logins import CLIENT_ID, GRANT_TYPE
from keystead.domain.token import Token

if TYPE_CHECKING:
    import httpx2


class DeviceLogin:
    """A sign-in at a terminal: `start` returns the code to show, `wait` the token that a person approved."""

    def __init__(
        self,
        url: str,
        *,
        agent: str = AGENT,
        timeout: float = TIMEOUT,
        patience: Patience | None = None,
        tls: SSLContext | None = None,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """Check the URL; nothing is sent yet. The arguments are those of Client, without a token.

        Raises:
            UnsafeAddress: A token must not come from this URL.
        """
        from keystead.client._sync.connection import Connection

        self._connection: Sender = Connection(
            url,
            None,
            agent=agent,
            timeout=timeout,
            patience=patience,
            tls=tls,
            transport=transport,
        )

    def start(
        self,
        *,
        scopes: Iterable[str] = (),
        description: str | None = None,
        host: str | None = None,
    ) -> DeviceCode:
        """Return a new code. The arguments only preselect: the person decides which key the terminal gets.

        `host` is this computer's name, which the person is shown. Raises Problem, Unreachable, UnexpectedAnswer.
        """
        wishes = {"scope": " ".join(scopes), "description": description, "host": host}
        fields = {name: wish for name, wish in wishes.items() if wish}
        body = form_body(client_id=CLIENT_ID, **fields)
        request = Request(
            "POST", "/oauth/device_authorization", body=body, media_type=FORM, authenticated=False
        )
        return self._connection.send(request, DeviceCode)

    def wait(self, code: DeviceCode) -> Token:
        """Return the token, as soon as a person has approved the code.

        Raises:
            Problem: Its code is `access_denied` or `expired_token`, and its detail says why.
            Unreachable, UnexpectedAnswer: The server didn't answer. The key may have been created.
        """
        body = form_body(
            grant_type=GRANT_TYPE, device_code=code.device_code.reveal(), client_id=CLIENT_ID
        )
        request = Request("POST", "/oauth/token", body=body, media_type=FORM, authenticated=False)
        interval = code.interval
        while True:
            time.sleep(interval)
            try:
                approved = self._connection.send(request, DeviceToken)
            except Problem as refusal:
                interval = next_interval(refusal, interval)
            else:
                return approved.access_token

    def close(self) -> None:
        """Close the sockets."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
