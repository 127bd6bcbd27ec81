"""What each template is given: one frozen context a page, all of it ready to be shown. Nothing here decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """What surrounds every page of a signed-in person. `switch`: their other workspaces; `account`: their own page."""

    workspace: str
    suspended: bool
    person: str
    role: str
    form_token: str
    home_url: str
    links: Sequence[Link]
    switch: Sequence[Link] = ()
    account: Link | None = None


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
class KeyRow:
    """A key as a list shows it. `status` is `active`, `expired` or `revoked`; `revoke_url` only for who may."""

    id: str
    description: str
    hint: str
    status: str
    scopes: Sequence[str]
    created: Moment
    created_by: str
    last_used: Moment | None
    last_used_by: str
    expires: Moment | None
    revoked: Moment | None
    note: str
    revoke_url: str | None


@dataclass(frozen=True, slots=True)
class LimitNotice:
    """The limit is full: why nothing can be created, and the keys that cost least to revoke."""

    reason: str
    candidates: Sequence[KeyRow]
    plans_url: str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several to choose from in a form."""

    value: str
    text: str
    hint: str = ""
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class SignInPage:
    """Where a sign-in link leads. `link` is the secret it carries; its form uses it up."""

    template: ClassVar[str] = "sign_in.html"
    form_token: str
    link: str | None
    refused: bool


@dataclass(frozen=True, slots=True)
class KeysPage:
    """The table of keys. `message` says what has just happened."""

    template: ClassVar[str] = "keys.html"
    frame: Frame
    message: str
    quota: QuotaLine
    limit: LimitNotice | None
    may_create: bool
    new_url: str
    keys_url: str
    shows: Sequence[Link]
    show: str
    query: str
    rows: Sequence[KeyRow]
    first_url: str | None
    next_url: str | None


@dataclass(frozen=True, slots=True)
class NewKeyPage:
    """The form for a new key. `problems` holds a sentence for each field that was refused, by its name."""

    template: ClassVar[str] = "new_key.html"
    frame: Frame
    quota: QuotaLine
    limit: LimitNotice | None
    keys_url: str
    once: str
    problems: Mapping[str, str]
    description: str
    expiries: Sequence[Choice]
    expires_on: str
    earliest: str
    accesses: Sequence[Choice]
    scopes: Sequence[Choice]


@dataclass(frozen=True, slots=True)
class KeyCreatedPage:
    """The one page that shows a token."""

    template: ClassVar[str] = "key_created.html"
    frame: Frame
    key: KeyRow
    token: str
    curl: str
    keys_url: str


@dataclass(frozen=True, slots=True)
class KeyCreatedBeforePage:
    """The same form arrived again: its key exists, and the token was shown."""

    template: ClassVar[str] = "key_created_before.html"
    frame: Frame
    key: KeyRow
    keys_url: str
    new_url: str


@dataclass(frozen=True, slots=True)
class RevokeKeyPage:
    """The question before a key is revoked. `consequence` says what stops."""

    template: ClassVar[str] = "revoke_key.html"
    frame: Frame
    key: KeyRow
    consequence: str
    keys_url: str


@dataclass(frozen=True, slots=True)
class RefusalPage:
    """Why there is nothing else to see here, and where to go."""

    template: ClassVar[str] = "refusal.html"
    title: str
    text: str
    link: Link
