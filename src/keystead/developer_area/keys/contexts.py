"""Contexts of the pages of API keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from keystead.developer_area.keys.access import Grid
from keystead.developer_area.keys.options import KeyOptions
from keystead.developer_area.web.contexts import (
    Choice,
    Difference,
    FramedPage,
    Link,
    Pager,
    QuotaLine,
    Timestamp,
)
from keystead.developer_area.workspace.contexts import CodeTab


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key for display. `status` is `active`, `expired` or `revoked`; action URLs are None without permission.

    `rotation` and `successor` describe a rotated key: `ends in 23 hours, rotated to`, and the key it was rotated to.
    """

    id: str
    url: str
    description: str
    hint: str
    status: str
    created: Timestamp
    created_by: str
    creator_left: bool
    last_used: Timestamp | None
    last_used_by: str
    expires: Timestamp | None
    revoked: Timestamp | None
    networks: Sequence[str]
    metadata: Sequence[tuple[str, str]]
    stored_in: str
    renews: bool
    renews_until: Timestamp | None
    rotation: str
    successor: Link | None
    rotate_url: str | None
    edit_url: str | None
    revoke_url: str | None


class ListRow(NamedTuple):
    """A key in the list, as texts. `acts` names the pages below `url` that the member may open.

    `created`, `used` and `ends` are relative; `*_exact` are in the member's time zone. `ends` is the expiry or, of a
    revoked key, the revocation. `successor` is what the key was rotated to.
    """

    id: str
    url: str
    description: str
    access: str
    prefix: str
    last_four: str
    created: str
    created_exact: str
    creator: str
    used: str
    used_from: str
    used_exact: str
    ends: str
    ends_on: str
    ends_exact: str
    status: str
    status_text: str
    successor: Link | None
    acts: str
    is_changed: bool


@dataclass(frozen=True, slots=True)
class LimitNotice:
    """The explanation of a full limit, with the keys that are safest to revoke."""

    reason: str
    candidates: Sequence[KeyRow]


@dataclass(frozen=True, slots=True)
class Review:
    """A hygiene finding: a link to its keys with their number, why they need a review, and whether to set an expiry."""

    link: Link
    reason: str
    sets_expiry: bool


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab of the list, with the number of its keys."""

    text: str
    count: str
    url: str
    current: bool


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column: a link that sorts by it, if there is one, and the present order (WAI-ARIA `aria-sort`)."""

    text: str
    url: str | None
    order: str


@dataclass(frozen=True, slots=True)
class FirstRun:
    """What an empty workspace shows instead of a list: three lines that use a key, and the quick start."""

    example: str
    quick_start_url: str


@dataclass(frozen=True, slots=True)
class Selection:
    """The bar of the checked keys. `whole` is the text of the box that checks a whole review, with its value."""

    whole: str
    finding: str
    sets_expiry: bool


@dataclass(frozen=True, slots=True)
class KeysPage(FramedPage):
    """The list of keys. `review` is the finding that it is filtered by, `kept` the search form's hidden fields.

    `filters` are links without one of the filters each. `result` says how many keys a search found. `state` is what
    the dialogs carry, to come back here.
    """

    template: ClassVar[str] = "keys.html"
    quota: QuotaLine
    limit: LimitNotice | None
    may_create: bool
    first_run: FirstRun | None
    reviews: Sequence[Review]
    review: Review | None
    tabs: Sequence[Tab]
    kept: Sequence[tuple[str, str]]
    query: str
    filters: Sequence[Link]
    filter_url: str
    result: str
    columns: Sequence[Column]
    rows: Sequence[ListRow]
    nothing: str
    selection: Selection | None
    state: str
    pages: Pager


@dataclass(frozen=True, slots=True)
class FilterPage(FramedPage):
    """The choice of filters. `kept` are the hidden fields of the rest of the list's state."""

    template: ClassVar[str] = "filter_keys.html"
    kept: Sequence[tuple[str, str]]
    creators: Sequence[Choice]
    accesses: Sequence[Choice]
    uses: Sequence[Choice]
    back_url: str


@dataclass(frozen=True, slots=True)
class SelectedKey:
    """A key in the question about several. `is_in_use`: it was used within a day."""

    description: str
    hint: str
    last_use: str
    is_in_use: bool


@dataclass(frozen=True, slots=True)
class RevokeKeysPage(FramedPage):
    """The question before several keys are revoked. `confirmation` is the number to type, if one is in use."""

    template: ClassVar[str] = "revoke_keys.html"
    title: str
    consequence: str
    keys: Sequence[SelectedKey]
    ids: str
    confirmation: str
    problem: str
    url: str
    back_url: str


@dataclass(frozen=True, slots=True)
class ExpireKeysPage(FramedPage):
    """The choice of an expiry for several keys."""

    template: ClassVar[str] = "expire_keys.html"
    title: str
    keys: Sequence[SelectedKey]
    ids: str
    problems: Mapping[str, str]
    expiries: Sequence[Choice]
    shown_at: str
    expires_on: str
    earliest: str
    url: str
    back_url: str


@dataclass(frozen=True, slots=True)
class KeyFormPage(FramedPage):
    """Fields of the forms of a key. `problems` maps field names to sentences.

    The times of `expiries` are counted from `shown_at`.
    """

    problems: Mapping[str, str]
    description: str
    expiries: Sequence[Choice]
    shown_at: str
    expires_on: str
    earliest: str
    accesses: Sequence[Choice]
    grid: Grid


@dataclass(frozen=True, slots=True)
class NewKeyPage(KeyFormPage):
    """The form of a new key. `inexact` says what of the duplicated key's access isn't chosen."""

    template: ClassVar[str] = "new_key.html"
    inexact: str
    options: KeyOptions
    quota: QuotaLine
    limit: LimitNotice | None
    once: str


@dataclass(frozen=True, slots=True)
class EditKeyPage(KeyFormPage):
    """The form that changes a key. An expired key has no `expiries`.

    `refusal` says why nothing was saved, `differences` what changed since an outdated form was rendered.
    """

    template: ClassVar[str] = "edit_key.html"
    options: KeyOptions
    key: KeyRow
    version: int
    differences: Sequence[Difference] | None
    refusal: str
    back_url: str


@dataclass(frozen=True, slots=True)
class KeyCreatedPage(FramedPage):
    """The only page that shows a token, in each of `forms`.

    `access` says what the key can do, `replaced` what happens to the rotated key. `done_url` shows the list.
    """

    template: ClassVar[str] = "key_created.html"
    key: KeyRow
    access: str
    token: str
    forms: Sequence[CodeTab]
    replaced: str
    done_url: str


@dataclass(frozen=True, slots=True)
class KeyCreatedBeforePage(FramedPage):
    """The response to a form that arrives again: its key exists and its token was shown."""

    template: ClassVar[str] = "key_created_before.html"
    key: KeyRow


@dataclass(frozen=True, slots=True)
class RevokeKeyPage(FramedPage):
    """The question before a key is revoked, or all of its `family`, which is empty unless that was chosen.

    `confirmation` holds the characters to type, if any. `others` is how many keys can also be revoked with this one.
    `url` is None if nothing is left to revoke.
    """

    template: ClassVar[str] = "revoke_key.html"
    key: KeyRow
    consequence: str
    family: Sequence[SelectedKey]
    others: str
    confirmation: str
    problem: str
    url: str | None
    back_url: str


@dataclass(frozen=True, slots=True)
class RotateKeyPage(FramedPage):
    """The choice of an overlap. `refusal` says why the key wasn't rotated or, without `overlaps`, why it can't be."""

    template: ClassVar[str] = "rotate_key.html"
    key: KeyRow
    refusal: str
    problem: str
    once: str
    overlaps: Sequence[Choice]
    successor_expires: Timestamp | None
    back_url: str
