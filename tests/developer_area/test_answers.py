"""The headers of every response, how files are served, and the texts of refusals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from keystead.developer_area.web.assets import FOLDER
from keystead.developer_area.web.timestamps import relative, timestamp
from tests.developer_area.conftest import Area, opened
from tests.support.administrator import write_behind
from tests.support.browser import Browser, Page
from tests.support.postgres import PrivatePostgres
from tests.support.surface import routes_of

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def assets_of(seen: Page) -> list[str]:
    """Return the URLs of the files that a page loads."""
    links = [e.attributes.get("href", "") for e in seen.tree.all("link")]
    return links + [e.attributes.get("src", "") for e in seen.tree.all("script")]


def answers(area: Area) -> list[Page]:
    """Return one response of each kind: pages, redirects, refusals, files."""
    browser = area.signed_in()
    page = browser.open(area.keys_url)
    stranger = area.browser()
    return [
        page,
        browser.open(f"{area.keys_url}/new"),
        stranger.open("/sign-in"),
        stranger.open(area.link()),
        browser.open("/nothing"),
        browser.request("DELETE", area.keys_url, {}),
        browser.post(area.keys_url, []),
        stranger.request("GET", area.keys_url, {"HX-Request": "true"}),
        *[browser.open(url) for url in assets_of(page)],
        browser.open("/static/0/none.css"),
    ]


def test_head_is_answered_as_get(area: Area) -> None:
    """HEAD works for every page and file that GET shows, and for no action."""
    area.key()
    browser = area.signed_in()
    seen = 0
    for route in routes_of(area.app):
        path = route.path.replace("{workspace_id}", area.workspace_id)
        if "{" in path:
            continue
        response, head = (browser.request(method, path, {}) for method in ("GET", "HEAD"))
        assert (head.status, head.path) == (response.status, response.path), path
        assert head.headers.keys() == response.headers.keys(), path
        assert (response.status == 405) == ("GET" not in (route.methods or ())), path
        seen += response.status == 200
    assert seen >= 15
    for url in assets_of(browser.open(area.keys_url)):
        assert browser.request("HEAD", url, {}).status == 200


def test_an_encoded_form_is_refused_as_such(area: Area) -> None:
    """A Content-Encoding is 415, and nothing is done."""
    browser = area.signed_in()
    seen = browser.post(area.keys_url, [("description", "x")], **{"Content-Encoding": "gzip"})
    assert seen.status == 415
    assert area.active() == 0


def test_every_answer_is_guarded(area: Area) -> None:
    """Pages, refusals and files alike have a strict policy, no framing, no referrer, no sniffing and isolation."""
    for seen in answers(area):
        policy = seen.headers["content-security-policy"]
        directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
        assert directives["default-src"] == "'none'"
        assert directives["script-src"] == directives["style-src"] == "'self'"
        for name in ("base-uri", "object-src", "frame-ancestors"):
            assert directives[name] == "'none'"
        assert "unsafe" not in policy
        assert "*" not in policy
        assert seen.headers["cross-origin-opener-policy"] == "same-origin"
        assert seen.headers.get_list("referrer-policy") == ["no-referrer"]
        assert seen.headers.get_list("x-content-type-options") == ["nosniff"]
        assert "access-control-allow-origin" not in seen.headers
        assert int(seen.headers["strict-transport-security"].partition("=")[2]) >= 31_536_000


def test_pages_are_not_kept(area: Area) -> None:
    """No cache stores a page, a redirect or a refusal; files may be cached permanently."""
    for seen in answers(area):
        is_file = seen.path.startswith("/static/") and seen.status == 200
        control = seen.headers["cache-control"]
        assert control == ("public, max-age=31536000, immutable" if is_file else "no-store")


def test_nothing_is_inline_or_foreign(area: Area) -> None:
    """Pages load only our own files, whose names change with their content, and contain no script or style."""
    for seen in answers(area):
        if "html" not in seen.headers.get("content-type", "") or not seen.html:
            continue
        for element in seen.tree.walk():
            assert element.tag != "style"
            assert not {
                n for n in element.attributes if n == "style" or n.startswith(("on", "hx-on"))
            }
        assert all(url.startswith("/static/") for url in assets_of(seen))


def test_files_are_as_they_are_in_the_folder(area: Area) -> None:
    """Each file is served whole, compressed if the browser accepts that, and under no other name."""
    browser = area.browser()
    sheets = [path.read_text() for path in FOLDER.glob("*.css")]
    for url in assets_of(browser.open("/sign-in")):
        plain = browser.open(url, **{"Accept-Encoding": "identity"})
        if url.endswith(".css"):
            assert len(plain.html) == sum(map(len, sheets))
            assert all(sheet in plain.html for sheet in sheets)
        else:
            (source,) = FOLDER.rglob(url.rpartition("/")[2])
            assert plain.html.encode() == source.read_bytes()
        packed = browser.open(url, **{"Accept-Encoding": "br, gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.html == plain.html
        assert plain.headers["vary"] == "accept-encoding"
        assert browser.open(url.replace("/static/", "/static/0")).status == 404


def test_a_full_page_of_keys_is_small(area: Area) -> None:
    """A page of 50 keys takes at most 30 kB; it is plain for a browser that accepts nothing else."""
    area.services.workspaces.set_plan(area.workspace_id, "scale")
    for number in range(50):
        area.key(f"{number} " + "nightly export to the warehouse " * 6)
    browser = area.signed_in()
    packed = browser.open(area.keys_url)
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) <= 30_000
    plain = browser.open(area.keys_url, **{"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    for accepted in ("gzip;q=0", "br"):
        headers = browser.open(area.keys_url, **{"Accept-Encoding": accepted}).headers
        assert "content-encoding" not in headers, accepted
    assert plain.headers["vary"] == packed.headers["vary"] == "accept-encoding"
    assert len(plain.html.encode()) > 100_000
    assert len(packed.rows()) == len(plain.rows()) == 50


def test_the_length_of_a_page_tells_no_secret(area: Area) -> None:
    """What is compressed has no secret that stays the same; a page with a token is not compressed (BREACH)."""
    browser = area.signed_in()
    pages = [browser.open(f"{area.keys_url}/new") for _ in range(2)]
    tokens = {e.attributes["value"] for p in pages for e in p.tree.all("input", name="form_token")}
    assert len(tokens) == 2
    shown = browser.submit(pages[0], area.keys_url, description="sync", expiry="30", access="full")
    assert shown.tree.all("textarea", id="token")
    for page in (shown, area.browser().open(area.link())):
        assert "content-encoding" not in page.headers


@pytest.mark.parametrize(
    "path",
    [
        "/static/x/../app.py",
        "/static/..%2f..%2fapp.py/x",
        "/static/",
        "/static/x/area.js",
        "/w/",
        "/keys",
    ],
)
def test_what_is_not_there_is_a_page(area: Area, path: str) -> None:
    """Every other URL is 404, with a link to continue."""
    seen = area.browser().open(path)
    assert seen.status == 404
    assert seen.link("Your API keys") == "/"


def test_a_wrong_method_names_the_right_ones(area: Area) -> None:
    """405 lists the methods of the URL."""
    browser: Browser = area.signed_in()
    assert sorted(browser.request("PUT", area.keys_url, {}).headers["allow"].split(", ")) == [
        "GET",
        "HEAD",
        "POST",
    ]
    seen = browser.open("/sign-out")
    assert (seen.status, seen.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "target", ["//evil.example", "/\\evil.example", "https://evil.example", "%09//evil.example"]
)
def test_no_url_leads_to_another_site(area: Area, target: str) -> None:
    """No parameter of a page chooses its target: every redirect stays on this site."""
    browser = area.browser()
    for name in ("next", "return_to", "url", "redirect", "return_url"):
        page = browser.open(f"{area.link()}&{name}={target}")
        assert browser.submit(page, "/sign-in").path == area.keys_url
        assert browser.open(f"/?{name}={target}").path == area.keys_url


def test_without_the_database_the_page_says_so(private_postgres: PrivatePostgres) -> None:
    """If keys cannot be read, the response is 503 with a calm sentence and no details."""
    with opened(private_postgres.dsn()) as area:
        browser = area.signed_in()
        act = f"{area.keys_url}/{area.key('sync').key_id}/revoke"
        form_token = area_token(browser)
        private_postgres.stop()
        seen = browser.open(area.keys_url)
        refused = browser.post(act, [("form_token", form_token)])
        private_postgres.start()
        assert browser.open(area.keys_url).rows()[0]["Status"] == "Active"
    assert (seen.status, seen.heading) == (503, "We couldn't load your keys")
    assert "Your keys keep working." in seen.tree.text
    assert (refused.status, refused.heading) == (503, "Nothing was changed")
    for answer in (seen, refused):
        assert answer.headers["retry-after"]
        assert "psycopg" not in answer.html


def test_a_bug_shows_no_internals(each_area: Area) -> None:
    """An internal error is a plain page: no traceback, no SQL, no table names."""
    browser = each_area.signed_in()
    with write_behind(each_area.installation.database) as tx:
        tx.execute(text("ALTER TABLE api_keys RENAME TO gone"))
    seen = browser.open(each_area.keys_url)
    assert (seen.status, seen.heading) == (500, "Something went wrong on our side")
    assert "api_keys" not in seen.html
    assert "Error" not in seen.html


def area_token(browser: Browser) -> str:
    """Return this browser's form token, from a page that needs no keys."""
    return browser.open("/sign-in?link=x").tree.one("input", name="form_token").attributes["value"]


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(), "just now"),
        (timedelta(seconds=-59), "just now"),
        (timedelta(seconds=59), "in less than a minute"),
        (timedelta(seconds=-60), "1 minute ago"),
        (timedelta(minutes=-89), "89 minutes ago"),
        (timedelta(minutes=-90), "2 hours ago"),
        (timedelta(hours=35), "in 35 hours"),
        (timedelta(hours=36), "in 2 days"),
        (timedelta(days=30, seconds=-1), "in 30 days"),
        (timedelta(days=-59), "59 days ago"),
        (timedelta(days=-60), "2 months ago"),
        (timedelta(days=365), "in 12 months"),
        (timedelta(days=-730), "2 years ago"),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - NOW, "in 7973 years"),
    ],
)
def test_times_in_words(span: timedelta, words: str) -> None:
    """Relative times are rounded to the nearest, in the usual unit."""
    assert relative(NOW + span, NOW) == words


def test_times_are_exact_in_utc() -> None:
    """The exact time stands next to the words, in UTC whatever its original zone."""
    markup = timestamp(datetime.fromisoformat("2026-11-23T14:05:09.5+02:00"), NOW)
    assert (markup.iso, markup.exact) == (
        "2026-11-23T12:05:09.500000Z",
        "23 Nov 2026, 12:05:09 UTC",
    )
