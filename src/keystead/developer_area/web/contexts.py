"""Template contexts that all pages share. Each page has one frozen context, ready to show; templates decide nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from keystead.domain.plans import Quota


class Page(Protocol):
    """A context and its template. A test compares the context's fields with the template's variables."""

    template: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A time as RFC 3339, as an exact local time, and relative to now."""

    iso: str
    exact: str
    relative: str


@dataclass(frozen=True, slots=True)
class Link:
    """A link. `current` marks the page on display."""

    text: str
    url: str
    current: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """The layout around every page of a signed-in user.

    `message` says what has just happened. `url` is the prefix of the workspace's pages, `home_url` its keys. `switch`
    links to the user's other workspaces, `return_url` back to the product that sent a portal user.
    """

    workspace: str
    suspended: bool
    person: str
    role: str
    form_token: str
    message: str
    url: str
    home_url: str
    links: Sequence[Link]
    switch: Sequence[Link] = ()
    account: Link | None = None
    return_url: str | None = None
    may_choose_plan: bool = False


@dataclass(frozen=True, slots=True)
class FramedPage:
    """Base of the contexts of pages inside the frame."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Pager:
    """Links to the first and the next page of a list, None if there is no such page."""

    first: str | None
    next: str | None


@dataclass(frozen=True, slots=True)
class QuotaLine:
    """A quota as text, such as `3 of 5 active keys`. `limit` None is unlimited."""

    text: str
    used: int
    limit: int | None
    plan: str

    @classmethod
    def of(cls, quota: Quota, noun: str, plan: str) -> QuotaLine:
        """Return the line of `quota`, which counts things named `noun`."""
        limit = "" if quota.limit is None else f" of {quota.limit:,}"
        ending = "" if (quota.limit or quota.used) == 1 else "s"
        return cls(f"{quota.used:,}{limit} {noun}{ending}", quota.used, quota.limit, plan)

    @property
    def is_full(self) -> bool:
        """Return whether the limit leaves no room for another."""
        return self.limit is not None and self.used >= self.limit


@dataclass(frozen=True, slots=True)
class Choice:
    """An option of a form field."""

    value: str
    text: str
    hint: str = ""
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class ChoiceGroup:
    """Options under one heading."""

    name: str
    choices: Sequence[Choice]


@dataclass(frozen=True, slots=True)
class Difference:
    """A field of an outdated form: the entered value and the stored one."""

    name: str
    yours: str
    current: str


def differences(*fields: tuple[str, str, str]) -> Sequence[Difference]:
    """Return the fields (name, entered value, stored value) whose values differ."""
    rows = [Difference(*field) for field in fields]
    return [row for row in rows if row.yours != row.current]


@dataclass(frozen=True, slots=True)
class QuestionPage(FramedPage):
    """A confirmation before an action. `back_url` is the Cancel link.

    `busy` is on the button while it is sent, `outcome` what isn't known if that fails, `once` the nonce, if it has one.
    """

    template: ClassVar[str] = "question.html"
    title: str
    text: str
    button: str
    busy: str
    outcome: str
    is_danger: bool
    url: str
    back_url: str
    once: str = ""


@dataclass(frozen=True, slots=True)
class ErrorPage:
    """An error with a link to continue."""

    template: ClassVar[str] = "error.html"
    title: str
    text: str
    link: Link
