"""The guard that opens the database itself: a verification costs microseconds, and is as fresh as the server's."""

from __future__ import annotations

import atexit
import os
import threading
from typing import Final

from keystead import bootstrap
from keystead.domain.principals import Principal
from keystead.domain.verification import Denied, Verification
from keystead.integrations.guard import Guard, Presented
from keystead.worker.loop import Loop, Task

FLUSH_SECONDS: Final = 2.0


class InProcess(Guard):
    """Opened at the first request of each process: servers fork after they import, and a connection must not be shared.

    What was noted of uses is written every two seconds, and when the process ends.
    """

    def __init__(self, settings: bootstrap.Settings) -> None:
        super().__init__(settings.base_url)
        self._settings = settings
        self._opening = threading.Lock()
        self._opened: _Opened | None = None
        atexit.register(self.close)

    def decide(self, presented: Presented, token: str, required: str | None) -> Principal:
        """Who acts. InvalidToken, InsufficientScope or Unavailable."""
        verifier = self._open().installation.services.verifier
        verdict = verifier.verify(token, required, address=presented.address, agent=presented.agent)
        return _principal(verdict, required)

    async def decide_on_loop(
        self, presented: Presented, token: str, required: str | None
    ) -> Principal:
        """As decide, without holding up the event loop."""
        verifier = self._open().installation.services.verifier
        verdict = await verifier.verify_on_loop(
            token, required, address=presented.address, agent=presented.agent
        )
        return _principal(verdict, required)

    @property
    def process(self) -> int | None:
        """The process that has it open."""
        return None if self._opened is None else self._opened.process

    def close(self) -> None:
        """Writes what was noted and gives the connections back; the next request would open them again."""
        with self._opening:
            opened, self._opened = self._opened, None
        if opened is not None and opened.process == os.getpid():
            opened.close()

    def _open(self) -> _Opened:
        opened = self._opened
        if opened is not None and opened.process == os.getpid():
            return opened
        with self._opening:
            if self._opened is None or self._opened.process != os.getpid():
                _inherited.append(self._opened)
                self._opened = _Opened(self._settings)
            return self._opened


def _principal(verdict: Verification, required: str | None) -> Principal:
    if isinstance(verdict, Denied):
        raise verdict.refusal(required)
    return verdict.principal


_inherited: list[_Opened | None] = []
"""What a fork inherited: never used, and never closed, as closing would act on what the parent goes on using."""


class _Opened:
    """The installation as one process has it open. ConfigurationError where it is not fit to be used."""

    def __init__(self, settings: bootstrap.Settings) -> None:
        bootstrap.check_schema(settings)
        self.process = os.getpid()
        self.installation = bootstrap.open_safely(settings)
        self._loop = Loop(
            [Task("flush_use", FLUSH_SECONDS, self.installation.services.usage.flush)]
        )
        self._loop.start()

    def close(self) -> None:
        """Ends the task, and closes."""
        self._loop.stop()
        self.installation.close()
