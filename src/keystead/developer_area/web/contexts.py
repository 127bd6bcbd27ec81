"""What each template is given: one frozen context a page, all of it ready to be shown. Nothing here decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol


class Page(Protocol):
    """A context that knows its template. The template's variables are the context's fields, and a test says so."""

    template: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant: for machines (RFC 3339), exactly in UTC, and in words relative to now."""

    iso: str
    exact: str
    relative: str


@dataclass(frozen=True, slots=True)
class Link:
    """A place to go. `current`: the page that is shown."""

    text: str
    url: str
    current: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """What surrounds every page of a signed-in person. `switch`: their other workspaces; `account`: their own page.

    `return_url`: where in the product its own user came from.
    """

    workspace: str
    suspended: bool
    person: str
    role: str
    form_token: str
    home_url: str
    links: Sequence[Link]
    switch: Sequence[Link] = ()
    account: Link | None = None
    return_url: str | None = None


@dataclass(frozen=True, slots=True)
class QuotaLine:
    """How much of the limit is used, such as `3 of 5 active keys`; `limit` None is unlimited."""

    text: str
    used: int
    limit: int | None
    plan: str

    @property
    def is_full(self) -> bool:
        """Whether another key would be refused."""
        return self.limit is not None and self.used >= self.limit


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several to choose from in a form."""

    value: str
    text: str
    hint: str = ""
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """A field of a form that was made from an older version: what was entered, and what is stored now."""

    name: str
    yours: str
    current: str


def differences(*fields: tuple[str, str, str]) -> Sequence[Difference]:
    """Return the fields (name, entered value, stored value) whose values differ."""
    rows = [Difference(*field) for field in fields]
    return [row for row in rows if row.yours != row.current]


@dataclass(frozen=True, slots=True)
class RefusalPage:
    """Why there is nothing else to see here, and where to go."""

    template: ClassVar[str] = "refusal.html"
    title: str
    text: str
    link: Link
