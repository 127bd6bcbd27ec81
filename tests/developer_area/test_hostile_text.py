"""Text that would act, in every field of every form and in every other place that takes text: it stays text."""

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
"""Stands in every payload, so that whatever it became can be found."""
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
"""Attributes that show text and do nothing."""


def require_inert(page: Element, where: object) -> None:
    """AssertionError where anything in a page acts that we did not write, or acts on what the text says."""
    for element in page.walk():
        for name, value in element.attributes.items():
            assert not name.startswith(("on", "style", "hx-on")), (where, name)
            if MARK in value.lower() and not name.startswith(("aria-", "data-")):
                assert name in SHOWING or is_own_address(value), (where, name, value)
        assert MARK not in element.tag, where
        assert not any(MARK in name for name in element.attributes), where
        require_known(element, where)


def require_known(element: Element, where: object) -> None:
    """AssertionError for an element that a payload would have made."""
    said = element.attributes
    assert element.tag not in {"style", "hx-partial", "iframe", "object", "base"}, where
    assert element.tag != "script" or said.get("src", "").startswith("/static/"), where
    assert element.tag != "img" or said.get("src", "").startswith("/static/"), where
    assert element.tag != "form" or is_own_address(said.get("action", "")), where
    assert said.get("hx-trigger", "") != "load", where
    if element.tag == "a" and "href" in said:
        assert said["href"].startswith(("/", "#", "https://product.example/")), (where, said)


def is_own_address(value: str) -> bool:
    """Whether it is a path of ours, with the text escaped in it."""
    return value.startswith("/") and not value.startswith(("//", "/\\")) and "<" not in value


def texts_of(seen: Page) -> Iterator[str]:
    """What a page shows, and what its fields hold."""
    yield seen.tree.text
    yield from (e.attributes.get("value", "") for e in seen.tree.all("input"))


def hostile_pages(furnished: FurnishedArea) -> Iterator[tuple[str, Page]]:
    """Every page that anybody sees now."""
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
    """The text in every place that no form reaches: names, agents, addresses, documents, what happened."""
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
    """Twenty payloads, in every place: no page holds an element, an attribute or an address that they made."""
    assert len(set(PAYLOADS)) == 20
    with survey.copied(tmp_path) as furnished:
        for number, payload in enumerate(PAYLOADS):
            furnish_with(furnished, number)
            sent = list(send_everywhere(survey, furnished, payload))
            assert len(sent) >= FEWEST_FIELDS, sent
        pages = list(hostile_pages(furnished))
    for where, seen in pages:
        require_inert(seen.tree, where)
    shown = "\n".join(text for _, seen in pages for text in texts_of(seen))
    assert [p for p in PAYLOADS if shown.count(" ".join(p.split())) < 2] == []


@pytest.mark.slow_on("postgresql")
def test_text_beside_a_password_stays_text(survey: Survey, tmp_path: Path) -> None:
    """Forms that ask for a password, each from the same state, since they begin and end sessions."""
    asking = [(who, form) for who, form in survey.forms if form.passwords]
    assert len(asking) >= 3
    for number, payload in enumerate(PAYLOADS):
        for who, wanted in asking:
            names = wanted.texts if number % 10 == 0 else set(wanted.texts) - set(wanted.passwords)
            for name in names:
                with survey.copied(tmp_path / str(number)) as furnished:
                    assert send(furnished, who, wanted, name, payload)


def send_everywhere(survey: Survey, furnished: FurnishedArea, payload: str) -> Iterator[str]:
    """The payload in each field of each form that takes text and asks for no password, one at a time."""
    for who, wanted in survey.forms:
        for name in [] if wanted.passwords else wanted.texts:
            if send(furnished, who, wanted, name, payload):
                yield f"{wanted.pattern} {name}"


def send(furnished: FurnishedArea, who: str, wanted: FoundForm, name: str, payload: str) -> bool:
    """Whether the form could be sent with the payload in that field; the answer is looked at."""
    if (found := offered(furnished, who, wanted)) is None:
        return False
    browser, form = found
    seen = browser.post(form.action, form.filled(**{name: payload}))
    assert seen.status < 500, (form.kind, name)
    if seen.response.request.method == "POST":  # pages that it leads to are walked through later
        require_inert(seen.tree, (form.kind, name, payload))
    return True


def offered(
    furnished: FurnishedArea, who: str, wanted: FoundForm
) -> tuple[Browser, FoundForm] | None:
    """The form as it stands now; None where an earlier text has used it up."""
    try:
        return furnished.form(who, wanted)
    except KeyError:
        return None


@pytest.mark.slow_on("postgresql")
def test_addresses_stay_addresses(survey: Survey, tmp_path: Path) -> None:
    """A payload in any parameter of any address makes nothing on the page that answers."""
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
    """The address with a payload in each of its parameters, and in the last part of its path."""
    parts = urlsplit(url)
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        for payload in (PAYLOADS[0], PAYLOADS[6], PAYLOADS[11]):
            yield urlunsplit(parts._replace(query=f"{name}={quote(payload)}"))
    yield f"{parts.path.rpartition('/')[0]}/{quote(PAYLOADS[2], safe='')}"


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("formula", FORMULAS)
def test_spreadsheets_compute_nothing(survey: Survey, tmp_path: Path, formula: str) -> None:
    """No cell of any file that can be downloaded begins as a formula (CWE-1236), whatever people called things."""
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
    """The check itself can fail: markup in which a payload came alive is refused."""
    harmless = "<p>{}</p>"
    for alive in (
        "<p onclick='zq-hostile-7'></p>",
        "<b zq-hostile-7></b>",
        "<a href='javascript:zq-hostile-7'>x</a>",
    ):
        with pytest.raises(AssertionError):
            require_inert(parse(harmless.format(alive)), "alive")
    require_inert(parse(harmless.format("zq-hostile-7 &lt;script&gt;")), "inert")
