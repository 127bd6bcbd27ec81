"""The guard that the integration of every framework asks: it admits a principal, or raises an error."""

from __future__ import annotations

import os
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from keystead.domain.errors import KeysteadError, StorageError
from keystead.domain.principals import Principal
from keystead.domain.product import OURS, Product
from keystead.domain.scopes import is_scope
from keystead.http.asgi import Answer, Header
from keystead.http.bearer import bearer_of
from keystead.http.client import Sender, parse_proxies, read_sender
from keystead.http.head import Head
from keystead.http.problems import Problems
from keystead.http.redaction import places, type_names
from keystead.logger import Logger
from keystead.operation.files import ConfigurationError

SCOPE_KEY: Final = "keystead"
"""The key of the principal in an ASGI scope."""

_IDENTITY = re.compile(rb"x[-_.]keystead[-_.].*", re.IGNORECASE | re.DOTALL)

_READ_VARIABLES: Final = {
    "HTTP_AUTHORIZATION": b"authorization",
    "HTTP_X_FORWARDED_FOR": b"x-forwarded-for",
    "HTTP_X_FORWARDED_PROTO": b"x-forwarded-proto",
}

_log = Logger("keystead.integrations")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The head of a request: raw header fields (names in any case), query, peer address, User-Agent."""

    headers: Sequence[Header]
    query: bytes = b""
    address: str | None = None
    agent: str | None = None

    @property
    def token(self) -> str:
        """The bearer token. Raises Unauthenticated, InvalidToken or InvalidRequest (RFC 6750 section 3.1)."""
        return bearer_of({"headers": self.headers, "query_string": self.query})


class Guard(ABC):
    """Decides which principal a request acts for. If anything goes wrong, the request is refused."""

    def __init__(
        self, base_url: str, trusted_proxies: Iterable[str] = (), product: Product = OURS
    ) -> None:
        """Take the URL of the problems' pages, without a slash at the end, the networks of the proxies, the product.

        Raises:
            ValueError: One of `trusted_proxies` is neither an address nor a CIDR block.
        """
        self.problems = Problems(base_url, product)
        self._proxies = parse_proxies(trusted_proxies)

    def sender(self, head: RequestHead) -> Sender:
        """Return the source of a request: X-Forwarded-For counts only if the peer is a trusted proxy."""
        fields = [(name.lower(), value) for name, value in head.headers] if self._proxies else ()
        return read_sender(head.address or "", Head(fields), self._proxies)

    def admit(self, head: RequestHead, required: str | None = None) -> Principal:
        """Return the key that acts. Blocks until the decision is made.

        Args:
            head: The head of the request.
            required: The scope that the key must have; None admits every active key.

        Raises:
            Unauthenticated, InvalidRequest: The request has not exactly one credential.
            InvalidToken: The token is not that of an active key.
            InsufficientScope: The key does not have the scope.
            Unavailable: The decision could not be made.
        """
        return self.decide(head, head.token, required)

    async def admit_on_loop(self, head: RequestHead, required: str | None = None) -> Principal:
        """Like `admit`, without blocking the event loop."""
        return await self.decide_on_loop(head, head.token, required)

    @abstractmethod
    def decide(self, head: RequestHead, token: str, required: str | None) -> Principal:
        """Return the principal of a token that is already read."""

    @abstractmethod
    async def decide_on_loop(
        self, head: RequestHead, token: str, required: str | None
    ) -> Principal:
        """Like `decide`, without blocking the event loop."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections. The next request opens them again."""

    def answer(self, error: BaseException) -> Answer:
        """Return the response to a request that was not admitted, and log what is not the caller's fault."""
        if isinstance(error, KeysteadError) and not isinstance(error, StorageError):
            return self.problems.answer(error)
        # A configuration error's sentence is written for the operator; any other text may quote the request.
        says = {"says": str(error)} if isinstance(error, ConfigurationError) else {}
        _log.error("verification failed", **says, errors=type_names(error), places=places(error))
        if isinstance(error, KeysteadError):
            return self.problems.answer(error)
        return self.problems.internal


class Closable(Protocol):
    """A resource that can be closed."""

    def close(self) -> None:
        """Close it."""


C = TypeVar("C", bound=Closable)

_inherited: list[object] = []
"""What forked processes inherited. Kept forever: closing or collecting it would act on the parent's connections."""


class PerProcess(Generic[C]):
    """A resource that each process opens at its first use, because servers fork after they import."""

    def __init__(self, open_resource: Callable[[], C]) -> None:
        self._open = open_resource
        self._lock = threading.Lock()
        # With the process that opened it, in one field: two threads could see one of two fields new, the other old.
        self._opened: tuple[int, C] | None = None

    @property
    def process(self) -> int | None:
        """The process that opened the resource; None while there is none."""
        opened = self._opened
        return None if opened is None else opened[0]

    def get(self) -> C:
        """Return this process's resource."""
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            with self._lock:
                opened = self._opened
                if opened is None or opened[0] != os.getpid():
                    if opened is not None:
                        _inherited.append(opened[1])
                    opened = self._opened = os.getpid(), self._open()
        return opened[1]

    def close(self) -> None:
        """Close this process's resource. The next `get` opens another one."""
        with self._lock:
            opened = self._opened
            if opened is None or opened[0] != os.getpid():
                return
            self._opened = None
        opened[1].close()


def valid_scope(required: str | None) -> str | None:
    """Return `required`. Raises ValueError if it is malformed: a typo would refuse every key, or be `*`."""
    if required is not None and not is_scope(required):
        raise ValueError(f"{required!r} is not a scope of the form resource:action")
    return required


def wsgi_head(environ: Mapping[str, object]) -> RequestHead:
    """Return the head of a WSGI request (PEP 3333), where repeated fields are already joined by commas."""
    headers = [
        (name, _latin(environ[variable]))
        for variable, name in _READ_VARIABLES.items()
        if environ.get(variable) is not None
    ]
    address, agent = environ.get("REMOTE_ADDR"), environ.get("HTTP_USER_AGENT")
    return RequestHead(
        headers,
        _latin(environ.get("QUERY_STRING") or ""),
        str(address) if address else None,
        str(agent) if agent else None,
    )


def is_identity(name: bytes) -> bool:
    """Return whether a header field may be taken for one of Keystead's, in any spelling that servers treat as equal."""
    return _IDENTITY.fullmatch(name) is not None


def _latin(value: object) -> bytes:
    return str(value).encode("latin-1", "replace")
