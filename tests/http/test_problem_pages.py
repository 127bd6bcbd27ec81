"""Every problem has a correct page, at the address in its `type`."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tomllib
from pathlib import Path

import pytest

from keystead.domain.errors import KeysteadError
from keystead.http import problem_pages
from keystead.http.problem_pages import PACKAGED, PREFIX, ProblemPages, source
from keystead.http.problems import STATUS, Problems
from keystead.http.stack import Stack
from tests.support.asgi import call, scope_of
from tests.support.problems import error_classes

DOCS = Path(__file__).parents[2] / "docs" / "problems"
PROBLEMS = Problems("https://keys.example.com")
PAGES = Stack(ProblemPages(PROBLEMS), PROBLEMS)
BY_CODE: dict[str, type[KeysteadError]] = {
    kind.code: kind for kind in error_classes() if "code" in vars(kind)
}


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    """The pages, the table and the error classes have the same codes; so does the index, in the table's order."""
    pages = {path.stem for path in DOCS.glob("*.md")} - {"README"}
    assert pages == set(STATUS) == set(BY_CODE)
    rows = re.findall(r"\| \[([a-z-]+)\]\(\1\.md\) \| (\d+) \| (.+) \|", source("README"))
    assert rows == [(code, str(status), BY_CODE[code].title) for code, status in STATUS.items()]


@pytest.mark.parametrize("code", STATUS)
def test_a_page_shows_the_code_the_status_and_a_true_example(code: str) -> None:
    """Title, status and the example's members are those of the code's response."""
    page = source(code)
    assert page.startswith(f"# {BY_CODE[code].title}\n\n`{code}` · HTTP {STATUS[code]}\n")
    assert "\n## What to do\n" in page
    [example] = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    shown = json.loads(example)
    assert [shown[name] for name in ("type", "title", "status", "code")] == [
        f"https://keys.example.com/problems/{code}",
        BY_CODE[code].title,
        STATUS[code],
        code,
    ]


@pytest.mark.parametrize("code", STATUS)
def test_an_example_has_the_members_of_the_real_problem(code: str) -> None:
    """An example has exactly the members that its error adds to the common five."""
    [example] = re.findall(r"```json\n(.*?)```", source(code), re.DOTALL)
    base = {"type", "title", "status", "detail", "code"}
    extra = {
        "limit-reached": {"limit", "used", "plan", "candidates", "plans_url"},
        "insufficient-scope": {"scope"},
        "would-loosen": {"changes"},
        "feed-expired": {"oldest"},
        "invalid": {"errors"},
        "invalid-cursor": {"errors"},
        "idempotency-mismatch": {"errors"},
        "against-policy": {"errors", "pointer", "policy"},
    }
    assert set(json.loads(example)) == base | extra.get(code, set())


@pytest.mark.parametrize("code", STATUS)
def test_the_type_of_a_problem_leads_to_its_page(code: str) -> None:
    """The page is served at the URL that the problem names, as HTML without scripts."""
    response = call(PAGES, scope_of(path=f"{PREFIX}/{code}"))
    html = response.body.decode()
    assert response.status == 200
    assert f"<h1>{BY_CODE[code].title}</h1>" in html
    assert f"HTTP {STATUS[code]}" in html
    assert response.header("content-type") == "text/html; charset=utf-8"
    assert (response.header("cache-control") or "").startswith("public")


def test_the_index_leads_to_every_page() -> None:
    """Links of the Markdown become addresses of the server, with or without a slash at the end."""
    for path in (PREFIX, f"{PREFIX}/"):
        html = call(PAGES, scope_of(path=path)).body.decode()
        assert re.findall(r'href="https://keys\.example\.com/problems/([a-z-]+)"', html) == [
            *STATUS
        ]
        assert ".md" not in html


def test_the_policy_allows_the_style_and_nothing_else() -> None:
    """The hash in the content security policy is that of the page's one style element."""
    response = call(PAGES, scope_of(path=PREFIX))
    [style] = re.findall(r"<style>(.*?)</style>", response.body.decode(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = response.header("content-security-policy") or ""
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


@pytest.mark.parametrize(
    "name", ["nothing", "README", "../README", "invalid.md", "Invalid", "a/b", "invalid/"]
)
def test_there_are_no_other_pages(name: str) -> None:
    """No file is served except the page of a code."""
    assert call(PAGES, scope_of(path=f"{PREFIX}/{name}")).status == 404


def test_the_wheel_carries_the_pages_where_they_are_looked_for() -> None:
    """An installed server has no source tree: the build puts the pages next to the code that serves them."""
    build = tomllib.loads((DOCS.parents[1] / "pyproject.toml").read_text())["tool"]["hatch"][
        "build"
    ]
    target = build["targets"]["wheel"]["force-include"]["docs/problems"]
    assert target == f"{problem_pages.__package__.replace('.', '/')}/{PACKAGED}"


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
def test_pages_are_only_read(method: str) -> None:
    """Any other method gets 405."""
    response = call(PAGES, scope_of(method, PREFIX))
    assert (response.status, response.header("allow")) == (405, "GET, HEAD")
