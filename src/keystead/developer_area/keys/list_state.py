"""What the list of keys shows, as its URL has it, and as every page that was opened from it carries it back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Final
from urllib.parse import parse_qsl, urlencode

from keystead.developer_area.sign_in.visits import MemberVisit
from keystead.developer_area.web.navigation import with_query

LIST: Final = "list"
"""The parameter that carries a state."""
FROM: Final = "from"
KEY_PAGE: Final = "key"
"""The value of FROM in what was opened on the page of one key, which an edit leads back to."""
CHANGED: Final = "changed"
_MAX_LENGTH: Final = 200
_MAX_STATE: Final = 2_000


@dataclass(frozen=True, slots=True)
class ListState:
    """The filters, the order and the page of the list. An empty string is the default.

    Attributes:
        show: a tab, or a hygiene finding.
        query: the searched text.
        sort: a column, descending with a `-` in front.
        creator: the id of the keys' creator.
        access: a kind of access.
        used: a time of the last use.
        cursor: the page.
    """

    show: str = ""
    query: str = ""
    sort: str = ""
    creator: str = ""
    access: str = ""
    used: str = ""
    cursor: str = ""

    @classmethod
    def of(cls, get: Callable[[str], str]) -> ListState:
        """Return the state of a request, from its parameters."""
        state = cls(*(get(name).strip() for name in _NAMES))
        return replace(state, query=state.query[:_MAX_LENGTH])

    @classmethod
    def parse(cls, text: str) -> ListState:
        """Return the state that a link or a form carries. Whatever does not belong to a state is dropped."""
        try:
            # A forged state leads to a page of this list at most: the path is always ours.
            parameters = dict(parse_qsl(text[:_MAX_STATE], max_num_fields=20))
        except ValueError:
            parameters = {}
        return cls.of(lambda name: parameters.get(name, ""))

    @classmethod
    def carried(cls, visit: MemberVisit) -> ListState:
        """Return the state of the list that led to this page."""
        return cls.parse(visit.query(LIST))

    def url(self, keys_url: str, **others: str) -> str:
        """Return the URL of the list in this state, with other parameters."""
        return with_query(keys_url, **self.parameters(), **others)

    def changed_url(self, keys_url: str, key_id: str) -> str:
        """Return the URL of the list that highlights that key's row."""
        # Without scripts the browser scrolls to the fragment; with scripts the list keeps its place.
        return f"{self.url(keys_url, **{CHANGED: key_id})}#{key_id}"

    def parameters(self) -> dict[str, str]:
        """Return the parameters that are not the default."""
        return {name: value for name in _NAMES if (value := getattr(self, name))}

    def __str__(self) -> str:
        """Return the state as links carry it."""
        return urlencode(self.parameters())

    @property
    def filters(self) -> dict[str, str]:
        """Return what a cursor is bound to."""
        return {name: getattr(self, name) for name in _NAMES if name != "cursor"}

    @property
    def is_filtered(self) -> bool:
        """Return whether less than a whole tab is shown."""
        return bool(self.query or self.creator or self.access or self.used)

    def first_page(self, **changes: str) -> ListState:
        """Return the first page of the list with these changes."""
        return replace(self, cursor="", **changes)


_NAMES: Final = tuple(field.name for field in fields(ListState))
