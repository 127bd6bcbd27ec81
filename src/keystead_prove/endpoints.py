"""Doors: the ways to ask whether a key is good. A server's own calls, or a gateway's or an application's URL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlsplit

from keystead_prove.calls import SCOPE_TO_KEEP, WHOAMI, Key, Refused
from keystead_prove.connection import Line, Reply

REST: Final = "REST"
FORWARD_AUTH: Final = "forward-auth"
INTROSPECTION: Final = "introspection"
_OF_PLANS: Final = "/v1/plan"
_GATE: Final = "/forward-auth"
_ANY: Final = f"{_GATE}/any"
_SCOPE_OF_PLANS: Final = f"{_GATE}/plan:read"
_INTROSPECT: Final = "/introspect"
REFUSED: Final = frozenset({401, 403})
"""What a door answers whom it does not let in."""


def lets_in(status: int) -> bool:
    """Whether this is what a door answers whom it lets in."""
    return 200 <= status < 300


@dataclass(frozen=True, slots=True)
class Question:
    """One way to ask: `path` is for any live key, `narrow` for one that may more than `SCOPE_TO_KEEP`.

    `credential`: of the service that asks, by RFC 7662; without one the question is a GET with the key itself.
    """

    name: str
    path: str
    narrow: str | None = None
    credential: str | None = field(default=None, repr=False)

    def ask(self, line: Line, token: str, *, narrowed: bool = False) -> Reply:
        """The answer, with 401 or 403 where the key does not do, however that was said."""
        path = self.narrow if narrowed and self.narrow else self.path
        if self.credential is None:
            return line.get(path, token)
        reply = line.post_form(path, self.credential, token=token)
        return replace(reply, status=_told(reply, narrowed=narrowed))


@dataclass(frozen=True, slots=True)
class Door:
    """Questions that are put to one address, in turn.

    `kept`: all that are asked about a key go over one connection, which was open before the key ended.
    """

    url: str
    questions: Sequence[Question]
    kept: bool = False

    def telling(self, *, narrowed: bool) -> Door | None:
        """As much of the door as tells an end: where a key lost a scope, not every question does. None: nothing."""
        told = [question for question in self.questions if question.narrow or not narrowed]
        return replace(self, questions=told) if told else None


def plain(url: str) -> Door:
    """The door that every server has."""
    return Door(url, [Question(REST, WHOAMI, _OF_PLANS)])


def of_servers(urls: Sequence[str], token: str, credential: str | None = None) -> list[Door]:
    """Every server's own door."""
    return [Door(url, list(_questions(url, token, credential))) for url in urls]


def through(url: str, token: str, narrow: Key) -> Door:
    """The door of a gateway or an application. Refused unless it lets in the key `token`, and nobody without a key.

    `narrow` is a key that may no more than `SCOPE_TO_KEEP`: where it is refused, this door tells of lost scopes too.
    """
    parts = urlsplit(url)
    place = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    with Line(f"{parts.scheme}://{parts.netloc}") as line:
        if line.get(place).status not in REFUSED:
            raise Refused(f"{url} does not refuse (401 or 403) who comes without a key")
        if not lets_in(line.get(place, token).status):
            raise Refused(f"{url} does not let in (2xx) a key of this installation")
        tells = line.get(place, narrow.token).status in REFUSED
    question = Question(url.partition("?")[0], place, place if tells else None)
    return Door(f"{parts.scheme}://{parts.netloc}", [question])


def _questions(url: str, token: str, credential: str | None) -> Iterator[Question]:
    """Those that this server answers; some do not have them all."""
    with Line(url) as line:
        if line.get(_ANY, token).status == 200 and line.get(_ANY).status == 401:
            yield Question(FORWARD_AUTH, _ANY, _SCOPE_OF_PLANS)
        yield Question(REST, WHOAMI, _OF_PLANS)
        asking = Question(INTROSPECTION, _INTROSPECT, _INTROSPECT, credential)
        if credential and asking.ask(line, token).status == 200:
            yield asking


def _told(reply: Reply, *, narrowed: bool) -> int:
    """The status by which another door says the same as an introspection."""
    if reply.status != 200:
        # What is refused here is who asks, which says nothing of the key.
        return 500 if reply.status in REFUSED else reply.status
    found = reply.json
    if not found["active"]:
        return 401
    return 403 if narrowed and found["scope"].split() == [SCOPE_TO_KEEP] else 200
