"""Client: the API for code that waits, over httpx2."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, Self, TypeVar

import httpx2

from keystead import __version__
from keystead.client import calls
from keystead.client.address import server_address
from keystead.client.errors import NotAToken, Unreachable, UnsafeAddress
from keystead.client.exchange import Call, Patience, Pause, Reply, Request, exchange
from keystead.client.results import Document, Page, PushReport, Whoami
from keystead.domain.documents import DocumentDraft
from keystead.domain.token import Token, parse

T = TypeVar("T")

AGENT: Final = f"keystead-python/{__version__}"
TIMEOUT: Final = httpx2.Timeout(60.0, connect=5.0)


class Client:
    """One server, one key. Redirects are not followed: the token goes to the server that was named, nowhere else."""

    def __init__(
        self, url: str, token: str, *, agent: str = AGENT, patience: Patience | None = None
    ) -> None:
        """UnsafeAddress for a URL that a token must not go to; NotAToken for what cannot be one."""
        self.url = _usable(server_address(url))
        self._token = _checked(token)
        self._patience = patience or Patience()
        # A proxy from the environment would read what goes to loopback in the clear; within TLS it cannot.
        self._http = httpx2.Client(
            headers={"user-agent": agent, "accept": "application/json"},
            timeout=TIMEOUT,
            trust_env=self.url.startswith("https:"),
        )

    def whoami(self) -> Whoami:
        """Whose key this is."""
        return self._run(calls.whoami())

    def create_collection(self, name: str, title: str | None = None) -> None:
        """Makes a collection."""
        self._run(calls.create_collection(name, title))

    def push(
        self, name: str, upsert: Sequence[DocumentDraft], delete: Sequence[str] = ()
    ) -> PushReport:
        """Pushes a batch into a collection: at most 1,000 entries and 10 MiB, all or nothing."""
        return self._run(calls.push(name, upsert, delete))

    def search(self, name: str, query: str, limit: int = 50) -> Page[Document]:
        """The best `limit` documents of a collection for the words of `query`."""
        return self._run(calls.search(name, query, limit))

    def documents(self, name: str) -> Iterator[Document]:
        """Every document of a collection, newest first, page after page."""
        cursor = None
        while True:
            page = self._run(calls.list_documents(name, cursor))
            yield from page.items
            cursor = page.next_cursor
            if cursor is None:
                return

    def close(self) -> None:
        """Gives the connections back."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self.url}>"

    def _run(self, call: Call[T]) -> T:
        steps = exchange(call, self._patience)
        outcome: Reply | Unreachable | None = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                result: T = done.value
                return result
            outcome = self._take(step)

    def _take(self, step: Request | Pause) -> Reply | Unreachable | None:
        if isinstance(step, Request):
            return self._send(step)
        time.sleep(step.seconds)
        return None

    def _send(self, request: Request) -> Reply | Unreachable:
        headers = {"authorization": f"Bearer {self._token.reveal()}"}
        if request.body is not None:
            headers["content-type"] = "application/json"
        try:
            answer = self._http.request(
                request.method,
                self.url + request.path,
                params=dict(request.query) or None,
                content=request.body,
                headers=headers,
            )
        except (httpx2.ConnectError, httpx2.ConnectTimeout):
            return Unreachable(f"Nothing answers at {self.url}.", sent=False)
        except httpx2.RequestError as error:
            return Unreachable(f"{self.url} gave no answer ({type(error).__name__}).", sent=True)
        return Reply(answer.status_code, dict(answer.headers), answer.content)


def _usable(url: str) -> str:
    try:
        httpx2.URL(url)
    except httpx2.InvalidURL:
        raise UnsafeAddress("The server's URL cannot be read.") from None
    return url


def _checked(text: str) -> Token:
    token = parse(text)
    if token is None:
        raise NotAToken("This is not a whole token; copy it again, or create a new key.")
    return token
