"""The guard: what every framework asks, and answers strangers with. It admits a principal, or it raises."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from keystead.domain.errors import KeysteadError, StorageError
from keystead.domain.principals import Principal
from keystead.domain.scopes import is_scope
from keystead.http.asgi import Answer, Header
from keystead.http.bearer import bearer_of
from keystead.http.problems import Problems
from keystead.http.redaction import places, type_names
from keystead.logger import Logger
from keystead.operation.files import ConfigurationError

SCOPE_KEY: Final = "keystead"
"""Where ASGI scopes keep the principal."""

_IDENTITY = re.compile(rb"x[-_.]keystead[-_.].*", re.IGNORECASE | re.DOTALL)

_log = Logger("keystead.integrations")


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request presents: its raw header fields (names in any case) and query, its peer, its User-Agent."""

    headers: Sequence[Header]
    query: bytes = b""
    address: str | None = None
    agent: str | None = None

    @property
    def token(self) -> str:
        """The bearer token. Unauthenticated, InvalidToken or InvalidRequest (RFC 6750 section 3.1) without just one."""
        return bearer_of({"headers": self.headers, "query_string": self.query})


class Guard(ABC):
    """Tells for a request who acts. Whatever goes wrong, nobody is admitted."""

    def __init__(self, base_url: str) -> None:
        """`base_url`: where the pages of problems are, without a slash at the end."""
        self.problems = Problems(base_url)

    def admit(self, presented: Presented, required: str | None = None) -> Principal:
        """The key that acts. Unauthenticated, InvalidToken, InsufficientScope, InvalidRequest or Unavailable else.

        `required` None asks for a live key of any scope. Blocks for as long as the decision takes.
        """
        return self.decide(presented, presented.token, required)

    async def admit_on_loop(self, presented: Presented, required: str | None = None) -> Principal:
        """As admit, for an event loop."""
        return await self.decide_on_loop(presented, presented.token, required)

    @abstractmethod
    def decide(self, presented: Presented, token: str, required: str | None) -> Principal:
        """Who acts with this token68."""

    @abstractmethod
    async def decide_on_loop(
        self, presented: Presented, token: str, required: str | None
    ) -> Principal:
        """As decide, for an event loop."""

    @abstractmethod
    def close(self) -> None:
        """Gives back what is held."""

    def answer(self, error: BaseException) -> Answer:
        """What a stranger is told: the problem of a refusal, and of everything else that something went wrong."""
        if isinstance(error, KeysteadError) and not isinstance(error, StorageError):
            return self.problems.answer(error)
        # A configuration error's sentence is written for the operator; any other text may quote what was sent.
        says = {"says": str(error)} if isinstance(error, ConfigurationError) else {}
        _log.error("verification failed", **says, errors=type_names(error), places=places(error))
        return (
            self.problems.answer(error)
            if isinstance(error, KeysteadError)
            else self.problems.internal
        )


def check_required(required: str | None) -> str | None:
    """`required`, if it can be a scope: a misspelt one would refuse everybody, or, worse, be `*`. ValueError else."""
    if required is not None and not is_scope(required):
        raise ValueError(f"{required!r} is not a scope of the form resource:action")
    return required


def of_wsgi(environ: Mapping[str, object]) -> Presented:
    """What a WSGI environment presents (PEP 3333): repeated fields are joined by commas there already."""
    sent = environ.get("HTTP_AUTHORIZATION")
    headers = [] if sent is None else [(b"authorization", str(sent).encode("latin-1", "replace"))]
    query = str(environ.get("QUERY_STRING") or "").encode("latin-1", "replace")
    address, agent = environ.get("REMOTE_ADDR"), environ.get("HTTP_USER_AGENT")
    return Presented(headers, query, _text(address), _text(agent))


def is_identity(name: bytes) -> bool:
    """Whether a header field could be taken for one of Keystead's, in one of the spellings that servers make equal."""
    return _IDENTITY.fullmatch(name) is not None


def _text(value: object) -> str | None:
    return str(value) if value else None
