from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain.credentials import check_credential_name
from keystead.domain.destinations import Destinations
from keystead.domain.documents import (
    CollectionDraft,
    CollectionPatch,
    DocumentDraft,
    Push,
    check_collection,
    check_collection_patch,
    check_document,
    check_push,
)
from keystead.domain.errors import Invalid
from keystead.domain.ids import WorkspaceId
from keystead.domain.keys import check_description, check_query
from keystead.domain.portal import PortalRequest, PortalUser, check_portal_request
from keystead.domain.text import is_visible
from keystead.domain.webhooks import WebhookDraft, WebhookPatch, check_draft, check_patch
from keystead.domain.workspaces import Role, check_name

LINES = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=100
)
UNFIT = st.characters(categories=["Cc", "Cs", "Zl", "Zp"])


@given(LINES.filter(is_visible))
def test_accepted_text_is_unchanged(text: str) -> None:
    """An accepted description or name is unchanged: blanks, joiners, any script."""
    assert check_description(text) == text
    assert check_name(text) == text
    assert check_query(text) == text


@given(LINES, UNFIT, st.integers(0, 100))
def test_no_line_holds_controls(text: str, unfit: str, place: int) -> None:
    """A control character (including NUL and ESC), a line separator or a lone surrogate is refused anywhere."""
    spoiled = text[:place] + unfit + text[place:]
    for check in (check_description, check_name, check_query):
        with pytest.raises(Invalid):
            check(spoiled)


UNSEEN = (
    "", " ", " \u3000\u00a0", "\u200b", "\u200b\u200d\u2060\ufeff", "\u00ad", "\u202e\u202c", "\u2066\u2069",
    "\u3164", "\uffa0", "\u115f\u1160", "\u2800", "\ufe0f", "\U000e0100", "\U000e0041", "\u180e", "\u034f", " \u200b ",
)  # fmt: skip
"""Text that is invisible: white space, joiners, direction marks, fillers, variation selectors and tags."""
_NOWHERE = Destinations()
_HOOK = WebhookDraft("CRM", "https://example.com/hooks", ("*",))


def _portal(user: PortalUser) -> None:
    check_portal_request(PortalRequest(WorkspaceId("ws_1"), user, Role.VIEWER), ())


CHECKS: dict[str, Callable[[str], Any]] = {
    "a key's description": check_description,
    "a person's or a workspace's name": check_name,
    "a credential's name": check_credential_name,
    "a collection's title": lambda text: check_collection(CollectionDraft("docs", text)),
    "a collection's new title": lambda text: check_collection_patch(CollectionPatch(text)),
    "a webhook's name": lambda text: check_draft(replace(_HOOK, name=text), _NOWHERE),
    "a webhook's new name": lambda text: check_patch(WebhookPatch(name=text), _NOWHERE),
    "a portal user's name": lambda text: _portal(PortalUser("user-1", text)),
    "a portal user's id": lambda text: _portal(PortalUser(text, "Ada")),
}


@pytest.mark.parametrize("text", UNSEEN, ids=ascii)
@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_an_invisible_name_is_refused(check: Callable[[str], Any], text: str) -> None:
    """Invisible text is refused as a name, a title or a description; visible text is accepted."""
    with pytest.raises(Invalid) as refused:
        check(text)
    assert len(refused.value.errors) == 1
    check(f"{text}x")


@pytest.mark.parametrize("text", UNSEEN, ids=ascii)
def test_an_invisible_title_is_none(text: str) -> None:
    """A document with an invisible title is stored without one, and equals one sent without a title."""
    titled, plain = DocumentDraft("a", "x", title=text), DocumentDraft("a", "x")
    assert check_document(titled) == check_document(plain)
    assert check_push(Push([titled])) == check_push(Push([plain]))


@pytest.mark.parametrize("text", UNSEEN, ids=ascii)
def test_what_cannot_be_seen_may_be_searched_for(text: str) -> None:
    """A search may be for any text that a description could contain, even a blank."""
    assert check_query(text) == text


@pytest.mark.parametrize("text", ["é", "字", "👩\u200d💻", "\u0301", ".", "a\u200b", "สวัสดี", "½"])
def test_what_is_seen_is_visible(text: str) -> None:
    """Letters of any script, marks, emoji and punctuation are visible, even with joiners among them."""
    assert is_visible(text)


def test_bounds() -> None:
    """A description has 200 characters at most, a name 100, counted as characters and not as bytes."""
    assert check_description("😀" * 200)
    assert check_name("字" * 100)
    for check, longest in ((check_description, 200), (check_query, 200), (check_name, 100)):
        with pytest.raises(Invalid):
            check("x" * (longest + 1))


def test_a_refusal_does_not_repeat_the_text() -> None:
    """The refusal of a text says what is allowed, without quoting the text."""
    with pytest.raises(Invalid) as refused:
        check_description("attack\x1b[2J")
    assert "attack" not in str(refused.value)
