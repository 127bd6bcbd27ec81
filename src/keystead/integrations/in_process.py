"""The guard that opens the database itself: a verification takes microseconds, and is as fresh as the server's."""

from __future__ import annotations

import atexit
from collections.abc import Iterable
from typing import Final

from keystead import bootstrap
from keystead.domain.principals import Principal
from keystead.domain.verification import Denied, Verification
from keystead.integrations.guard import Guard, PerProcess, RequestHead
from keystead.worker.loop import Loop, Task

FLUSH_SECONDS: Final = 2.0


class InProcess(Guard):
    """A guard over the database. The use of keys is written every two seconds, and when the process ends."""

    def __init__(self, settings: bootstrap.Settings, trusted_proxies: Iterable[str] = ()) -> None:
        # Not those of the settings: the server's proxies aren't the application's.
        super().__init__(settings.base_url, trusted_proxies, settings.product)
        self.installation = PerProcess(lambda: _OpenInstallation(settings))
        atexit.register(self.close)

    def decide(self, head: RequestHead, token: str, required: str | None) -> Principal:
        """Return the principal. Raises InvalidToken, InsufficientScope or Unavailable."""
        verifier, sender = self.installation.get().services.verifier, self.sender(head)
        verdict = verifier.verify(
            token,
            required,
            address=sender.address or None,
            agent=head.agent,
            source=sender.source,
        )
        return _principal(verdict, required)

    async def decide_on_loop(
        self, head: RequestHead, token: str, required: str | None
    ) -> Principal:
        """Like `decide`, without blocking the event loop."""
        verifier, sender = self.installation.get().services.verifier, self.sender(head)
        verdict = await verifier.verify_on_loop(
            token,
            required,
            address=sender.address or None,
            agent=head.agent,
            source=sender.source,
        )
        return _principal(verdict, required)

    def close(self) -> None:
        """Write the noted uses, and close the connections. The next request opens them again."""
        self.installation.close()


class _OpenInstallation:
    """The installation as one process has it open. Raises ConfigurationError if it is not fit for use."""

    def __init__(self, settings: bootstrap.Settings) -> None:
        bootstrap.check_schema(settings)
        self._installation = bootstrap.open_safely(settings)
        self.services = self._installation.services
        self._loop = Loop([Task("flush_use", FLUSH_SECONDS, self.services.usage.flush)])
        self._loop.start()

    def close(self) -> None:
        """Stop the task, which flushes for a last time, and close the database."""
        self._loop.stop()
        self._installation.close()


def _principal(verdict: Verification, required: str | None) -> Principal:
    if isinstance(verdict, Denied):
        raise verdict.refusal(required)
    return verdict.principal
