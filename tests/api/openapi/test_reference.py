"""/docs and /problems: pages for people, without a line of script."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from keystead.api.openapi.document import describe, operations
from keystead.api.openapi.samples import sample_of
from keystead.domain.principals import Actor, PrincipalKind
from keystead.http.problems import STATUS
from tests.support.api_client import BASE, ApiClient, Tenant, problem, safe_text

SAMPLE = "ws_02tcRIyrxLXTR81B3dqdOx"
"""The workspace of sample requests."""


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect."""
        values = dict(attrs)
        self.tags.append(tag)
        self.attributes |= set(values)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.links += [value for name, value in attrs if name in {"href", "src"} and value]


@pytest.fixture
def nobody(quick: Tenant) -> ApiClient:
    """A client without a key."""
    return quick.api.client()


def test_the_reference_shows_every_call_and_every_shape(nobody: ApiClient) -> None:
    """Each operation and each schema of the document has its place on the page, and each link its target."""
    answer = nobody.get("/docs")
    page = Page(answer.text)
    document = describe()
    expected = {operation["operationId"] for _, _, operation in operations(document)}
    expected |= {f"schema-{name}" for name in document["components"]["schemas"]}
    assert expected <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    inside = {link[1:] for link in page.links if link.startswith("#")}
    assert inside <= set(page.ids)
    for link in {link for link in page.links if link.startswith("/")}:
        assert nobody.get(link).status_code == 200, link


def test_the_reference_says_what_a_value_is(nobody: ApiClient) -> None:
    """Lists, references, alternatives and enumerations are shown as such."""
    text = re.sub(r"</?(?:a|code)[^>]*>", "", nobody.get("/docs").text)
    cells = {" ".join(cell.split()) for cell in re.findall(r"<td>(.*?)</td>", text, re.DOTALL)}
    for told in ("list of Key", "list of string", "date-time or null", "KeyStatus", "integer"):
        assert told in cells, told
    assert "active, expired, revoked" in text
    assert "list of anything" not in cells


def test_the_reference_needs_nothing_from_elsewhere(nobody: ApiClient) -> None:
    """No script, no inline style, no image, no foreign host but in links; and a policy that would stop them."""
    answer = nobody.get("/docs")
    page = Page(answer.text)
    assert not {"script", "style", "img", "iframe", "form", "object"} & set(page.tags)
    assert not [name for name in page.attributes if name == "style" or name.startswith("on")]
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    style = nobody.get("/docs/reference.css")
    assert style.headers["content-type"].startswith("text/css")
    assert "url(" not in style.text
    assert "@import" not in style.text
    assert "light dark" in style.text


def test_a_sample_request_of_the_page_is_good(quick: Tenant, nobody: ApiClient) -> None:
    """Each curl line names this server, takes the token from the environment, and sends a body that is taken."""
    text = nobody.get("/docs").text.replace("&#39;", "'").replace("&#34;", '"')
    lines = re.findall(r"curl -X ([A-Z]+) (\S+)((?:[^<]|<(?!/code>))*)</code>", text)
    assert len(lines) == 38
    client = quick.client()
    client.collection()
    actor = Actor(PrincipalKind.OPERATOR, "tests", "tests")
    _, token = quick.api.services.credentials.create("backend", actor)
    operator = quick.api.client(token.reveal())
    for method, url, rest in lines:
        assert url.startswith(BASE)
        assert "Bearer $KEYSTEAD_TOKEN" in rest
        body = re.search(r"-d '(.*)'", rest)
        if body is None or re.search(r"/keys/|/webhooks/|/portal-sessions$|/collections$", url):
            continue
        path = url.removeprefix(BASE).replace(SAMPLE, quick.id)
        caller = operator if path.startswith("/operator/") else client
        answer = caller.send(method, path, json.loads(body[1]))
        assert answer.status_code in {200, 201}, (method, url, safe_text(answer))


def test_samples_follow_their_schemas() -> None:
    """A sample has all members, the first example if there is one, and ends at members that can be null."""
    schemas = describe()["components"]["schemas"]
    sample = sample_of({"$ref": "#/components/schemas/CreatedKey"}, schemas)
    assert set(sample) == set(schemas["CreatedKey"]["properties"])
    assert sample["description"] == "data-warehouse sync"
    assert sample["revoked_at"] is None
    assert sample_of({"$ref": "#/components/schemas/KeyList"}, schemas)["items"][0]["hint"]


@pytest.mark.parametrize("code", STATUS)
def test_every_problem_has_its_page(nobody: ApiClient, code: str) -> None:
    """Where `type` leads, there is a page."""
    answer = nobody.get(f"/problems/{code}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


def test_pages_are_for_reading(nobody: ApiClient) -> None:
    """HEAD works, other methods don't; an unknown page is 404."""
    for path in ("/docs", "/openapi.json", "/problems"):
        assert nobody.send("HEAD", path).status_code == 200
        assert problem(nobody.post(path, {})) == (405, "method-not-allowed")
    for path in ("/docs/", "/docs/x", "/problems/", "/problems/none", "/redoc", "/openapi.yaml"):
        assert problem(nobody.get(path)) == (404, "not-found")
