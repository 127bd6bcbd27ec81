"""A token is in exactly one response, and in nothing that is stored."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from keystead.domain.token import Token, parse
from tests.support.browser import Page
from tests.support.surface import FurnishedArea, Survey, Walk

TOKEN = re.compile(r"ks_[0-9A-Za-z]{22}_[0-9A-Za-z]{49}")
BIRTHS = ("/keys", "/rotate")


def token_in(seen: Page) -> Token:
    """Return the token that a page shows."""
    (text,) = set(TOKEN.findall(seen.html))
    token = parse(text)
    assert token is not None
    return token


def shapes(token: Token) -> list[str]:
    """Return the forms that would reveal the secret: whole, in part, reversed, encoded."""
    secret = token.reveal()[-49:]
    packed = base64.b64encode(token.reveal().encode()).decode().rstrip("=")
    return [secret, secret[:20], secret[-26:-6], secret[::-1], secret.encode().hex(), packed[8:40]]


def responses_with_tokens(furnished: FurnishedArea) -> Iterator[Page]:
    """Yield every response with a new token: of a new key, and of a successor."""
    births = [f for f in furnished.visitors["owner"].forms if f.pattern.endswith(BIRTHS)]
    assert births
    for wanted in births:
        browser, form = furnished.form("owner", wanted)
        answer = browser.post(form.action, form.filled(description="canary"))
        assert answer.status == 201, form.kind
        yield answer


@pytest.fixture
def furnished(survey: Survey, tmp_path: Path) -> Iterator[FurnishedArea]:
    """A copy of the surveyed area."""
    with survey.copied(tmp_path) as furnished:
        yield furnished


@pytest.mark.slow
def test_no_later_answer_holds_it(furnished: FurnishedArea) -> None:
    """After the response that shows it, no page, file or API response contains the token or a part."""
    answers = list(responses_with_tokens(furnished))
    later = []
    for who, visitor in furnished.visitors.items():
        walk = Walk(furnished.browser(who), furnished.area.app)
        later += walk.through(*sorted({s.path for s in visitor.pages})).pages
    assert len(later) > 20
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        for shape in shapes(token_in(answer)):
            assert not [seen.path for seen in later if shape in seen.html]
            assert not [seen for seen in answers if seen is not answer and shape in seen.html]


def test_it_is_in_no_url_and_no_header(furnished: FurnishedArea) -> None:
    """The response contains the token only in its body."""
    for answer in responses_with_tokens(furnished):
        secret = token_in(answer).reveal()[-49:]
        assert secret not in answer.path
        assert not [name for name, value in answer.headers.items() if secret in value]
        links = [v for e in answer.tree.walk() for v in e.attributes.values() if secret in v]
        assert links == []


def test_no_row_holds_it(furnished: FurnishedArea) -> None:
    """No column of any table contains the token: only its digest is stored."""
    tokens = [token_in(answer) for answer in responses_with_tokens(furnished)]
    with furnished.area.installation.database.engine.connect() as connection:
        names = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'"))
        tables = [name for (name,) in names]
        rows = [
            repr(tuple(row))
            for t in tables
            for row in connection.execute(text(f"SELECT * FROM {t}"))
        ]
    assert any("canary" in row for row in rows)
    for token in tokens:
        assert not [shape for shape in shapes(token) for row in rows if shape in row]


def test_sending_the_form_again_shows_no_token(furnished: FurnishedArea) -> None:
    """The same form again, as a reload sends it, shows that the key exists, but not its token."""
    for wanted in furnished.visitors["owner"].forms:
        if wanted.pattern.endswith(BIRTHS):
            browser, form = furnished.form("owner", wanted)
            fields = form.filled(description="twice")
            first, second = browser.post(form.action, fields), browser.post(form.action, fields)
            assert len(set(TOKEN.findall(first.html))) == 1
            assert TOKEN.findall(second.html) == []
