"""All pages and forms of a Developer area, found by following its links: no list to keep up to date."""

from __future__ import annotations

import shutil
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
from sqlalchemy import select
from starlette.routing import Match, Route

from keystead.bootstrap import Installation
from keystead.developer_area.sign_in.cookies import KEPT_FORM
from keystead.domain.sessions import LinkPurpose
from keystead.domain.workspaces import Role
from keystead.http.asgi import App
from keystead.storage.schema import tables as schema
from tests.developer_area.conftest import Area, opened
from tests.support.administrator import read_behind
from tests.support.browser import Browser, Page
from tests.support.clocks import NOON
from tests.support.markup import Element
from tests.support.sample_workspace import PASSWORD, SampleWorkspace, furnish

MOST: Final = 3
CODE_FORM: Final = "/device"
TEXTUAL: Final = frozenset({"", "text", "search", "email", "url", "tel", "password"})
_OFFERED: Final = {
    "networks": "203.0.113.0/24",
    "metadata": "customer=42",
    "email": "somebody@keys.example",
    "password": PASSWORD,
    "date": "2027-03-01",
}


@dataclass(frozen=True)
class FoundForm:
    """A form that is sent by POST: its page, its action, and its fields."""

    page: str
    action: str
    pattern: str
    names: tuple[str, ...]
    element: Element = field(compare=False, repr=False)

    @property
    def kind(self) -> tuple[str, tuple[str, ...]]:
        """What distinguishes it from other forms."""
        return self.pattern, self.names

    @property
    def texts(self) -> list[str]:
        """The names of the fields that take any text."""
        return [e.attributes["name"] for e in _controls(self.element) if _is_textual(e)]

    @property
    def passwords(self) -> list[str]:
        """The names of the fields that take a password."""
        controls = _controls(self.element)
        return [e.attributes["name"] for e in controls if e.attributes.get("type") == "password"]

    def filled(self, **texts: str) -> list[tuple[str, str]]:
        """Return its fields as a user fills them in, with these texts in those of that name."""
        return list(_filled(self.element, texts))


class Walk:
    """A user's way through all that they can reach, in their browser.

    It visits at most three pages of a kind in the workspace where it begins; one in each other workspace.
    """

    def __init__(self, browser: Browser, app: App) -> None:
        self.browser, self._home = browser, ""
        self.routes = routes_of(app)
        self.pages: list[Page] = []
        self.forms: dict[tuple[str, tuple[str, ...]], FoundForm] = {}
        self._counts: Counter[object] = Counter()
        self._asked: set[str] = set()

    def through(self, *urls: str) -> Walk:
        """Walk from these addresses."""
        queue = deque(urls)
        self._home = self._home or _workspace(urls[0])
        while queue:
            url = queue.popleft()
            if not self._wants(url):
                continue
            seen = self.look(url)
            queue += links_of(seen) if is_html(seen) else ()
        return self

    def look(self, url: str) -> Page:
        """Open one page, and note its forms."""
        seen = self.browser.open(url)
        self._note(seen, url)
        if is_html(seen) and seen.tree.all("form", action=CODE_FORM):
            self._look_behind_the_code(seen, url)
        return seen

    def patterns(self) -> set[str]:
        """Return the routes whose pages were visited."""
        return {self.pattern_of(seen.path) for seen in self.pages if seen.status < 400}

    def pattern_of(self, url: str) -> str:
        """Return the route of an address; empty if no route matches."""
        path = urlsplit(url).path
        for route in self.routes:
            if route.matches({"type": "http", "path": path, "method": "GET"})[0] is not Match.NONE:
                return route.path
        return ""

    def _wants(self, url: str) -> bool:
        pattern = self.pattern_of(url)
        if not pattern or pattern.startswith("/static") or url in self._asked:
            return False
        self._asked.add(url)
        kind = (pattern, _workspace(url), frozenset(dict(parse_qsl(urlsplit(url).query))))
        self._counts[kind] += 1
        return self._counts[kind] <= (MOST if _workspace(url) == self._home else 1)

    def _look_behind_the_code(self, seen: Page, url: str) -> None:
        """Send the code that the address filled in: only then is there a form to approve or deny it."""
        fields = list(_filled(seen.form(CODE_FORM), {}))
        if dict(fields)["user_code"] in url:
            self._note(self.browser.post(CODE_FORM, fields), url)

    def _note(self, seen: Page, url: str) -> None:
        self.pages.append(seen)
        for element in seen.tree.all("form", method="post") if is_html(seen) else ():
            action = element.attributes["action"]
            names = tuple(sorted({e.attributes["name"] for e in _controls(element)}))
            found = FoundForm(url, action, self.pattern_of(action), names, element)
            self.forms.setdefault(found.kind, found)


def _workspace(url: str) -> str:
    return url.split("/")[2] if url.startswith("/w/") else ""


def routes_of(app: App) -> list[Route]:
    """Return the routes of the pages, from within the surrounding applications."""
    inner: Any = app
    while not hasattr(inner, "routes"):
        inner = inner._app
    return [route for route in inner.routes if isinstance(route, Route)]


def is_html(seen: Page) -> bool:
    """Return whether it is a page, and not a file."""
    return seen.headers.get("content-type", "").startswith("text/html") and bool(seen.html)


def links_of(seen: Page) -> Iterator[str]:
    """Yield a page's addresses: its links, the pages that its dialog shows, and its searches."""
    for element in seen.tree.walk():
        for name in ("href", "hx-get"):
            if element.tag == "a" and element.attributes.get(name, "").startswith("/"):
                yield element.attributes[name]
        if "data-preview" in element.attributes:
            yield f"{element.attributes['data-preview']}?on={_OFFERED['date']}"
        if element.tag == "form" and element.attributes.get("method", "get") == "get":
            fields = [*_filled(element, {}), *_checked_for(element, seen)]
            for action in _actions(element):
                yield f"{action}?{urlencode(fields)}"


def _actions(form: Element) -> Iterator[str]:
    """Yield the addresses that the buttons of a form send it to."""
    buttons = [e.attributes.get("formaction") for e in form.all("button")]
    yield from dict.fromkeys(action or form.attributes["action"] for action in buttons)


def _checked_for(form: Element, seen: Page) -> Iterator[tuple[str, str]]:
    """Yield the first box of each name that belongs to a form from elsewhere on its page."""
    id = form.attributes.get("id", "")
    boxes = seen.tree.all("input", form=id) if id else []
    yield from {e.attributes["name"]: e.attributes["value"] for e in reversed(boxes)}.items()


def _controls(form: Element) -> list[Element]:
    tags = {"input", "textarea", "select", "button"}
    return [e for e in form.walk() if e.tag in tags and "name" in e.attributes]


def _is_textual(control: Element) -> bool:
    if control.tag == "textarea":
        return True
    return control.tag == "input" and control.attributes.get("type", "") in TEXTUAL


def _filled(form: Element, texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    chosen: set[str] = set()
    for control in _controls(form):
        name, kind = control.attributes["name"], control.attributes.get("type", "")
        value = control.attributes.get("value", "")
        if "disabled" in control.attributes or control.tag == "button" or kind == "submit":
            continue
        if control.tag == "select":
            options = [o.attributes.get("value", o.text) for o in control.all("option")]
            yield name, next((o for o in options if o), "")
        elif kind in {"radio", "checkbox"}:
            if name not in chosen:
                chosen.add(name)
                yield name, value
        elif kind == "hidden":
            yield name, value
        else:
            offered = _OFFERED.get(name) or _OFFERED.get(kind, "words")
            yield name, texts.get(name) or value or offered


# --- a furnished area in which everybody has looked at everything; copied for each test ---


@dataclass(frozen=True)
class Visitor:
    """A visitor who walked through all that they can reach: their cookies, the time, the pages they saw."""

    cookies: httpx2.Cookies = field(repr=False)
    at: datetime
    pages: list[Page]
    forms: list[FoundForm]
    patterns: set[str]


@dataclass(frozen=True)
class Survey:
    """The pages of a furnished area by kind of visitor; the database as it was when they had seen it."""

    file: Path
    sample: SampleWorkspace
    visitors: Mapping[str, Visitor]
    routes: list[Route]
    files: Mapping[str, int]
    """The files that pages load, and their bytes as they travel, compressed."""

    @property
    def pages(self) -> list[Page]:
        """Every page that a visitor saw."""
        return [seen for visitor in self.visitors.values() for seen in visitor.pages]

    @property
    def forms(self) -> list[tuple[str, FoundForm]]:
        """Every kind of form, and the visitor that found it first."""
        found: dict[object, tuple[str, FoundForm]] = {}
        for name, visitor in self.visitors.items():
            for form in visitor.forms:
                found.setdefault(form.kind, (name, form))
        return list(found.values())

    @contextmanager
    def copied(self, folder: Path) -> Iterator[FurnishedArea]:
        """Copy the area as the visitors left it, for a test to change."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.file, folder / "keystead.db")
        with opened(f"sqlite:///{folder / 'keystead.db'}") as area:
            sample = replace(self.sample, installation=area.installation, clock=area.clock)
            yield FurnishedArea(area, sample, self.visitors)


@dataclass(frozen=True)
class FurnishedArea:
    """A furnished area of a test's own."""

    area: Area
    sample: SampleWorkspace
    visitors: Mapping[str, Visitor]

    def browser(self, name: str) -> Browser:
        """Return the browser in which that visitor walked; the clock is set to the time of the walk."""
        visitor = self.visitors[name]
        self.area.clock.set(visitor.at)
        browser = self.area.browser()
        browser.cookies = httpx2.Cookies(visitor.cookies)
        return browser

    def form(self, name: str, wanted: FoundForm) -> tuple[Browser, FoundForm]:
        """Return the visitor's browser, with the form as it is on its page now."""
        browser = self.browser(name)
        walk = Walk(browser, self.area.app)
        walk.look(wanted.page)
        return browser, walk.forms[wanted.kind]

    def state(self) -> dict[str, int]:
        """Return a digest of all rows of each table, except those that merely viewing changes."""
        return {name: hash(rows) for name, rows in _rows_of(self.area.installation)}

    def tables_with(self, text: str) -> list[str]:
        """Return the tables that have that text in some row."""
        written = repr(text)[1:-1]
        rows_of = _rows_of(self.area.installation)
        return [name for name, rows in rows_of if any(written in row for row in rows)]


def survey(folder: Path) -> Survey:
    """Furnish an area of a product with a name of its own, and send every visitor through it."""
    file = folder / "keystead.db"
    with opened(f"sqlite:///{file}", product_name="Acme Cloud", powered_by=False) as area:
        sample = furnish(area.installation, area.clock, NOON)
        visitors = {name: _visit(area, *start) for name, start in _starts(area, sample).items()}
        routes, files = routes_of(area.app), _files(area, visitors)
    return Survey(file, sample, visitors, routes, files)


def assets_of(seen: Page) -> set[str]:
    """Return the addresses of all that a page loads."""
    links = {e.attributes["href"] for e in seen.tree.all("link")}
    return links | {e.attributes["src"] for e in seen.tree.walk() if "src" in e.attributes}


def _files(area: Area, visitors: Mapping[str, Visitor]) -> dict[str, int]:
    pages = [seen for visitor in visitors.values() for seen in visitor.pages if is_html(seen)]
    files = {url: area.browser().open(url) for url in set().union(*map(assets_of, pages))}
    assert all(file.status == 200 for file in files.values())
    return {url: int(file.headers["content-length"]) for url, file in files.items()}


def _visit(area: Area, browser: Browser, at: datetime, urls: Sequence[str]) -> Visitor:
    area.clock.set(at)
    cookies = httpx2.Cookies(browser.cookies)
    walk = Walk(browser, area.app).through(*urls)
    return Visitor(cookies, at, walk.pages, list(walk.forms.values()), walk.patterns())


def _starts(
    area: Area, sample: SampleWorkspace
) -> dict[str, tuple[Browser, datetime, Sequence[str]]]:
    """Return the visitors, each with a start time and addresses: every kind of user, and every way in."""
    viewer = sample.person(Role.VIEWER, "Somebody")
    later = NOON + timedelta(minutes=50)
    home = [f"/w/{id}/keys" for id in (sample.owner.workspace_id, sample.full, sample.suspended)]
    home.insert(1, f"{home[0]}?show=endless")  # the only list from which keys get an expiry
    return {
        "owner": (_signed_in(area, sample.link()), NOON, [*home, sample.terminal()]),
        "viewer": (_signed_in(area, sample.link(viewer)), NOON, home[:1]),
        "stranger": (area.browser(), NOON, list(_entry_pages(area, sample))),
        "owner who was away": (_signed_in(area, sample.link()), later, home),
        "admin who came back": (
            _signed_in_again(area, sample, later),
            later,
            [f"{sample.base}/resume"],
        ),
    }


def _signed_in_again(area: Area, sample: SampleWorkspace, later: datetime) -> Browser:
    """Sign in again by a link, as a user without a password whose form waits for authentication."""
    admin = sample.person(Role.ADMIN, "Cam Comeback")
    browser = _signed_in(area, sample.link(admin))
    area.clock.set(later)
    page = browser.open(f"{sample.base}/keys/new")
    asked = browser.submit(
        page, f"{sample.base}/keys", description="waits", expiry="never", access="full"
    )
    waits = browser.cookies[KEPT_FORM]
    assert asked.status == 403
    landed = browser.submit(browser.open(sample.link(admin)), "/sign-in")
    assert landed.path.endswith("/resume")
    browser.cookies.set(KEPT_FORM, waits, domain=urlsplit(browser.origin).hostname or "")
    return browser


def _signed_in(area: Area, link: str) -> Browser:
    browser = area.browser()
    seen = browser.submit(browser.open(link), "/sign-in")
    assert seen.status == 200
    return browser


def _entry_pages(area: Area, sample: SampleWorkspace) -> Iterator[str]:
    sign_in = sample.installation.services.sign_in
    reset, _ = sign_in.make_link(sample.owner, LinkPurpose.PASSWORD)
    yield from ("/", "/sign-in", sample.link(), f"/sign-in?link={reset.reveal()}")
    if any(route.path == "/invitation" for route in routes_of(area.app)):
        yield sample.invitation()
    yield sample.confirmation()


def _rows_of(installation: Installation) -> Iterator[tuple[str, frozenset[str]]]:
    with read_behind(installation.database) as tx:
        for table in schema.metadata.sorted_tables:
            columns = [c for c in table.c if (table.name, c.name) != ("sessions", "seen_at")]
            yield table.name, frozenset(repr(tuple(row)) for row in tx.execute(select(*columns)))
