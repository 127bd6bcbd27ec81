"""/docs and /problems: pages for people, complete without scripts."""

from __future__ import annotations

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path

import pytest

from keystead.api.openapi.document import DOCUMENTS, operations, workspace_document
from keystead.api.openapi.samples import sample_of
from keystead.domain.principals import Actor, PrincipalKind
from keystead.http.problems import STATUS
from tests.support.api_client import BASE, ApiClient, Tenant, open_api, problem, safe_text
from tests.support.described_calls import CALLS

SAMPLE = "ws_02tcRIyrxLXTR81B3dqdOx"
"""The workspace of sample requests."""


class Page(HTMLParser):
    """The elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the element."""
        values = dict(attrs)
        self.tags.append(tag)
        self.attributes |= set(values)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in attrs if name in {"href", "src"} and value]


@pytest.fixture
def nobody(quick: Tenant) -> ApiClient:
    """A client without a key."""
    return quick.api.client()


@pytest.mark.parametrize("root", DOCUMENTS)
def test_the_reference_shows_every_call_and_every_shape(nobody: ApiClient, root: str) -> None:
    """Each operation and each schema of the document is on its page, and each link has its target."""
    answer = nobody.get(f"{root}/docs")
    page = Page(answer.text)
    document = DOCUMENTS[root]()
    expected = {operation["operationId"] for _, _, operation in operations(document)}
    expected |= {f"schema-{name}" for name in document["components"]["schemas"]}
    assert expected <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    inside = {link[1:] for link in page.links if link.startswith("#")}
    assert inside <= set(page.ids)
    outside = {link for link in page.links if link.startswith("/")}
    assert {"/problems", f"{root}/openapi.json"} <= outside
    assert ("/docs" in outside, "/operator/docs" in outside) == (bool(root), False)
    for link in outside:
        assert nobody.get(link).status_code == 200, link


def test_the_reference_says_what_a_value_is(nobody: ApiClient) -> None:
    """Lists, references, alternatives and enumerations are shown as such."""
    text = re.sub(r"</?(?:a|code)[^>]*>", "", nobody.get("/docs").text)
    cells = {" ".join(cell.split()) for cell in re.findall(r"<td>(.*?)</td>", text, re.DOTALL)}
    for words in ("list of Key", "list of string", "date-time or null", "KeyStatus", "integer"):
        assert words in cells, words
    assert "active, expired, revoked" in text
    assert "list of anything" not in cells


def test_the_reference_loads_nothing_from_other_hosts(nobody: ApiClient) -> None:
    """One script of ours, nothing inline, no foreign host except in links; and a policy that would block them."""
    for path, requests in (("/docs", "'self'"), ("/operator/docs", "'none'")):
        answer = nobody.get(path)
        page = Page(answer.text)
        assert not {"style", "img", "iframe", "object"} & set(page.tags)
        assert page.tags.count("script") == 1
        assert re.findall(r"<script[^>]*>(.*?)</script>", answer.text, re.DOTALL) == [""]
        assert not [name for name in page.attributes if name == "style" or name.startswith("on")]
        assert answer.headers["content-security-policy"] == (
            "default-src 'none'; style-src 'self'; script-src 'self';"
            f" connect-src {requests}; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
            " require-trusted-types-for 'script'; trusted-types 'none'"
        )


def test_the_files_of_the_reference_are_harmless(nobody: ApiClient) -> None:
    """The style loads nothing; the script stores nothing, and builds no page out of text."""
    script = nobody.get("/docs/reference.js")
    assert script.headers["content-type"] == "text/javascript"
    for word in ("Storage", "cookie =", "indexedDB", "innerHTML", "eval", "pushState", "http:"):
        assert word not in script.text, word
    assert script.text.count("fetch(") == 1
    style = nobody.get("/docs/reference.css")
    assert style.headers["content-type"].startswith("text/css")
    assert "url(" not in style.text
    assert "@import" not in style.text
    assert "light dark" in style.text


def test_a_sample_request_of_the_page_is_valid(quick: Tenant, nobody: ApiClient) -> None:
    """Each curl command names this server, takes the token from the environment, and sends a valid body."""
    text = nobody.get("/docs").text + nobody.get("/operator/docs").text
    text = text.replace("&#39;", "'").replace("&#34;", '"')
    lines = re.findall(r"curl -X ([A-Z]+) (\S+)((?:[^<]|<(?!/code>))*)</code>", text)
    assert len(lines) == len(CALLS)
    client = quick.client()
    client.collection()
    actor = Actor(PrincipalKind.OPERATOR, "tests", "tests")
    _, token = quick.api.services.credentials.create("backend", actor)
    operator = quick.api.client(token.reveal())
    for method, url, rest in lines:
        assert url.startswith(BASE)
        assert "Bearer $KEYSTEAD_TOKEN" in rest
        body = re.search(r"-d '(.*)'", rest)
        if body is None or re.search(
            r"/keys/|/members/|/webhooks/|/portal-sessions$|/collections$|/plans$", url
        ):
            continue
        path = url.removeprefix(BASE).replace(SAMPLE, quick.id)
        caller = operator if path.startswith("/operator/") else client
        answer = caller.send(method, path, json.loads(body[1]))
        assert answer.status_code in {200, 201}, (method, url, safe_text(answer))


def test_samples_follow_their_schemas() -> None:
    """A sample has all members, the first example if there is one, and ends at members that can be null."""
    schemas = workspace_document()["components"]["schemas"]
    sample = sample_of({"$ref": "#/components/schemas/CreatedKey"}, schemas)
    assert set(sample) == set(schemas["CreatedKey"]["properties"])
    assert sample["description"] == "data-warehouse sync"
    assert sample["revoked_at"] is None
    assert sample_of({"$ref": "#/components/schemas/KeyList"}, schemas)["items"][0]["hint"]


@pytest.mark.parametrize("code", STATUS)
def test_every_problem_has_its_page(nobody: ApiClient, code: str) -> None:
    """There is a page at each `type`."""
    answer = nobody.get(f"/problems/{code}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


def test_pages_are_for_reading(nobody: ApiClient) -> None:
    """HEAD works, other methods don't; an unknown page is 404."""
    for path in ("/docs", "/openapi.json", "/operator/docs", "/operator/openapi.json", "/problems"):
        assert nobody.send("HEAD", path).status_code == 200
        assert problem(nobody.post(path, {})) == (405, "method-not-allowed")
    for path in ("/docs/", "/docs/x", "/problems/", "/problems/none", "/redoc", "/openapi.yaml"):
        assert problem(nobody.get(path)) == (404, "not-found")


def test_a_client_that_leaves_ends_no_rendering(tmp_path: Path) -> None:
    """The first request has the pages rendered; others get them too if it is cancelled meanwhile."""
    with open_api(f"sqlite:///{tmp_path / 'keystead.db'}") as api:

        async def leave() -> int:
            first = asyncio.ensure_future(api.http.get("/docs"))
            for _ in range(20):
                await asyncio.sleep(0)
            assert not first.done()
            first.cancel()
            with suppress(asyncio.CancelledError):
                await first
            return (await api.http.get("/docs")).status_code

        assert api.runner.run(leave()) == 200


def test_a_failed_rendering_is_repeated(tmp_path: Path) -> None:
    """A request that finds no thread to render in fails alone: the next one has the pages rendered."""
    with open_api(f"sqlite:///{tmp_path / 'keystead.db'}") as api:

        async def fail() -> int:
            closed = ThreadPoolExecutor()
            closed.shutdown()
            asyncio.get_running_loop().set_default_executor(closed)
            assert (await api.http.get("/docs")).status_code == 500
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
            return (await api.http.get("/docs")).status_code

        assert api.runner.run(fail()) == 200
