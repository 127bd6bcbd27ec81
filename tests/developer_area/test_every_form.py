"""Every form of every page: forged, it changes nothing; sent as it stands, it is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from keystead.developer_area.sign_in.cookies import SESSION
from tests.support.browser import Browser, Page
from tests.support.surface import FoundForm, FurnishedArea, Survey

FEWEST_FORMS = 20
FOREIGN = "You've been signed out"


class Forged:
    """A form on its way, ready to be spoilt."""

    def __init__(self, furnished: FurnishedArea, browser: Browser, form: FoundForm) -> None:
        self.furnished, self.browser, self.url = furnished, browser, form.action
        self.fields = form.filled()

    def sent(self, **headers: str) -> Page:
        """What comes of it; these headers stand instead of a browser's own."""
        return self.browser.post(self.url, self.fields, **headers)

    def with_token(self, *tokens: str) -> Forged:
        """The same with other form tokens, or without any."""
        rest = [(name, value) for name, value in self.fields if name != "form_token"]
        self.fields = [*(("form_token", token) for token in tokens), *rest]
        return self

    def elsewhere(self) -> Forged:
        """The same from a browser that has never been here."""
        self.browser = self.furnished.area.browser()
        return self


def with_anothers_token(forged: Forged) -> Page:
    """The token of another person's session: an attacker has a session of their own."""
    page = forged.furnished.browser("viewer").open(f"{forged.furnished.sample.base}/keys")
    token = page.tree.all("input", name="form_token")[0].attributes["value"]
    return forged.with_token(token).sent()


def with_the_token_in_the_address(forged: Forged) -> Page:
    """The token beside the form, where other sites could place it."""
    forged.url += "?" + urlencode({"form_token": dict(forged.fields)["form_token"]})
    return forged.with_token().sent()


def as_text(forged: Forged) -> Page:
    """The same bytes under a type that a script of another site may send without being asked for leave."""
    return forged.sent(**{"Content-Type": "text/plain"})


FORGERIES: dict[str, Callable[[Forged], Page]] = {
    "without a token": lambda forged: forged.with_token().sent(),
    "with another's token": with_anothers_token,
    "with the cookie as token": lambda forged: forged.with_token(
        forged.browser.cookies.get(SESSION) or "x"
    ).sent(),
    "with the token in the address": with_the_token_in_the_address,
    "without the cookie": lambda forged: forged.elsewhere().sent(),
    "from another site": lambda forged: forged.sent(**{"Sec-Fetch-Site": "cross-site"}),
    "from another origin": lambda forged: forged.sent(
        **{"Sec-Fetch-Site": "", "Origin": "https://evil.example"}
    ),
    "as text": as_text,
}


@pytest.mark.slow
def test_forged_forms_change_nothing(survey: Survey, tmp_path: Path) -> None:
    """Each form that stands on some page, in each of eight forgeries: refused, and no row of any table is another."""
    assert len(FORGERIES) == 8
    count = 0
    with survey.copied(tmp_path) as furnished:
        for who, wanted in survey.forms:
            browser, form = furnished.form(who, wanted)
            before = furnished.state()
            for name, forgery in FORGERIES.items():
                seen = forgery(Forged(furnished, browser, form))
                signed_out = name == "without the cookie" and seen.path.startswith("/sign-in")
                assert signed_out or seen.status in {400, 403, 415}, (form.kind, name, seen.status)
                assert furnished.state() == before, (form.kind, name)
                count += 1
    assert count == len(survey.forms) * 8 >= FEWEST_FORMS * 8


@pytest.mark.slow
def test_the_same_forms_are_taken_when_they_are_real(survey: Survey, tmp_path: Path) -> None:
    """The forgeries fail for what was forged: sent as they stand, forms get past the guards and most change rows."""
    changed = []
    for number, (who, wanted) in enumerate(survey.forms):
        with survey.copied(tmp_path / str(number)) as furnished:
            browser, form = furnished.form(who, wanted)
            before = furnished.state()
            seen = browser.post(form.action, form.filled())
            assert seen.heading != FOREIGN, form.kind
            assert seen.status < 500, form.kind
            changed += [form.kind] if furnished.state() != before else []
    assert len(changed) >= len(survey.forms) * 3 / 5, changed


UNSEEN = "\u200b\u2060\u3164\u200b"


@pytest.mark.slow
def test_no_form_stores_a_name_that_cannot_be_seen(survey: Survey, tmp_path: Path) -> None:
    """Every text field of every form, filled with invisible characters: none of them is a name of anything."""
    count = 0
    for number, (who, wanted) in enumerate(survey.forms):
        for text in set(wanted.texts) & {"name", "description", "title"}:
            with survey.copied(tmp_path / f"{number}-{text}") as furnished:
                browser, form = furnished.form(who, wanted)
                seen = browser.post(form.action, form.filled(**{text: UNSEEN}))
                assert seen.status in {200, 409, 422}, (form.kind, seen.status)
                assert furnished.tables_with(UNSEEN) == [], form.kind
                count += 1
    assert count >= 5


@pytest.fixture
def furnished(survey: Survey, tmp_path: Path) -> Iterator[FurnishedArea]:
    """A copy of the surveyed area."""
    with survey.copied(tmp_path) as furnished:
        yield furnished


@pytest.mark.slow
def test_a_sign_in_begins_under_a_new_secret(furnished: FurnishedArea) -> None:
    """A cookie that an attacker planted before opens nothing afterwards (session fixation)."""
    browser = furnished.area.browser()
    page = browser.open(furnished.sample.link())
    planted = browser.cookies[SESSION]
    seen = browser.submit(page, "/sign-in")
    assert seen.status == 200
    assert browser.cookies[SESSION] != planted
    attacker = furnished.area.browser()
    attacker.cookies.set(SESSION, planted)
    assert attacker.open("/").path.startswith("/sign-in")
