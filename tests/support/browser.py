"""A browser without scripts: it follows redirects, keeps cookies, and sends the forms of a page."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from urllib.parse import urlencode, urljoin

import httpx2

from keystead.http.asgi import App
from tests.support.markup import Element, parse

ORIGIN = "https://keys.example"
CONTROLS = {"input", "textarea", "select", "button"}
Values = Iterable[str] | str


class Page:
    """The page that the browser shows after a request."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self.status = response.status_code
        self.headers = response.headers
        self.html = response.text
        self.path = response.url.raw_path.decode()

    @cached_property
    def tree(self) -> Element:
        """The document."""
        return parse(self.html)

    @property
    def heading(self) -> str:
        """The page's h1."""
        return self.tree.one("h1").text

    def form(self, action: str) -> Element:
        """Return the form with that action."""
        return self.tree.one("form", action=action)

    def link(self, text: str) -> str:
        """Return the address of the link with that text."""
        links = [a for a in self.tree.all("a") if a.text.startswith(text)]
        assert links, f"no link {text!r}"
        return links[0].attributes["href"]

    def rows(self) -> list[dict[str, str]]:
        """Return the table, one mapping of heading to text for each row."""
        tables = self.tree.all("table")
        if not tables:
            return []
        head, *body = tables[0].all("tr")
        names = [th.text for th in head.all("th")]
        cells = [[c.text for c in row.children if isinstance(c, Element)] for row in body]
        return [dict(zip(names, row, strict=True)) for row in cells]


class Browser:
    """A user's browser. Requests carry Fetch Metadata as real ones do."""

    loop: asyncio.AbstractEventLoop | None = None
    """The running loop for its requests. Concurrent browsers need one, since the shares of callers belong to a loop."""

    def __init__(self, app: App, origin: str = ORIGIN) -> None:
        self.app = app
        self.origin = origin
        self.cookies = httpx2.Cookies()

    def open(self, url: str, **headers: str) -> Page:
        """Open the page at `url`."""
        return self.request("GET", url, headers={"Sec-Fetch-Site": "none", **headers})

    def submit(self, seen: Page, action: str, **values: Values) -> Page:
        """Fill in the page's form with that `action`, and send it."""
        form = seen.form(action)
        fields = filled(form, values)
        method = form.attributes.get("method", "get").upper()
        if method == "GET":
            return self.open(f"{action}?{urlencode(fields)}", **{"Sec-Fetch-Site": "same-origin"})
        return self.post(action, fields)

    def post(self, url: str, fields: Iterable[tuple[str, str]], **headers: str) -> Page:
        """Send these fields as a form of the same origin."""
        form_headers = {"Sec-Fetch-Site": "same-origin", "Origin": "null"}
        form_headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(list(fields)).encode()
        return self.request("POST", url, headers={**form_headers, **headers}, body=body)

    def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Page:
        """Send a request, and follow its redirects. An empty header value leaves the header out."""
        sent = {name: value for name, value in headers.items() if value}
        sending = self._send(method, url, sent, body)
        if self.loop is None:
            response = asyncio.run(sending)
        else:
            response = asyncio.run_coroutine_threadsafe(sending, self.loop).result()
        self.cookies = _merged(self.cookies, response)
        if response.status_code == 303:
            target = response.headers["location"]
            assert re.fullmatch(r"/([^/\\].*)?", target), f"not a path of ours: {target}"
            return self.open(target, **{"Sec-Fetch-Site": sent.get("Sec-Fetch-Site", "none")})
        return Page(response)

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> httpx2.Response:
        transport = httpx2.ASGITransport(self.app)
        async with httpx2.AsyncClient(transport=transport, cookies=self.cookies) as client:
            target = urljoin(self.origin, url)
            return await client.request(method, target, headers=dict(headers), content=body)


@contextmanager
def on_one_loop(*browsers: Browser) -> Iterator[None]:
    """Run the requests of these browsers on one event loop, as a server does."""
    loop = asyncio.new_event_loop()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(loop.run_forever)
        try:
            for browser in browsers:
                browser.loop = loop
            yield
        finally:
            for browser in browsers:
                browser.loop = None
            loop.call_soon_threadsafe(loop.stop)
            running.result()
            loop.close()


def _merged(cookies: httpx2.Cookies, response: httpx2.Response) -> httpx2.Cookies:
    merged = httpx2.Cookies(cookies)
    merged.update(response.cookies)
    for line in response.headers.get_list("set-cookie"):
        if "max-age=0" in line.lower():
            merged.delete(line.partition("=")[0])
    return merged


def filled(form: Element, values: Mapping[str, Values]) -> list[tuple[str, str]]:
    """Return the form's fields as a browser sends them; only values that the form offers, and all that it requires."""
    left = {
        name: [value] if isinstance(value, str) else list(value) for name, value in values.items()
    }
    fields: list[tuple[str, str]] = []
    required, sent = set(), set()
    for control in [e for e in form.walk() if e.tag in CONTROLS]:
        name = control.attributes.get("name")
        if name is None or "disabled" in control.attributes:
            continue
        if "required" in control.attributes:
            required.add(name)
        value = _value(control, left.get(name))
        if value is not None:
            fields.append((name, value))
            sent |= {name} if value else set()
            left.get(name, [])[:] = [v for v in left.get(name, []) if v != value]
    assert not any(left.values()), f"the form does not offer {left}"
    assert required <= sent, f"the form requires {required - sent}"
    return fields


def _value(control: Element, wanted: list[str] | None) -> str | None:
    kind = control.attributes.get("type", "text")
    if control.tag == "select":
        return _option(control, wanted)
    own = control.raw if control.tag == "textarea" else control.attributes.get("value", "")
    if kind in {"radio", "checkbox"}:
        chosen = "checked" in control.attributes if wanted is None else own in wanted
        return own if chosen else None
    if kind == "submit":
        return None
    return own if wanted is None or kind == "hidden" else wanted[0]


def _option(control: Element, wanted: list[str] | None) -> str:
    options = control.all("option")
    chosen = [o for o in options if "selected" in o.attributes] or options
    if wanted is None:
        return chosen[0].attributes["value"]
    return next((v for o in options if (v := o.attributes["value"]) in wanted), "")
