"""Every page can be reached by links, and the rules for pages hold for each of them."""

from __future__ import annotations

import gzip
import re
from itertools import pairwise

import pytest

from tests.support.browser import Page
from tests.support.markup import Element
from tests.support.surface import Survey, assets_of, is_html

MOST_BYTES = 100_000
"""The maximum for a page with everything that its first visit loads, compressed."""
IN_A_WORKSPACE = "/w/{workspace_id}"
WEBHOOK = f"{IN_A_WORKSPACE}/webhooks/{{webhook_id}}"
ROUTES_WITHOUT_A_PAGE = {
    "/",
    "/sign-out",
    f"{IN_A_WORKSPACE}/device",
    f"{IN_A_WORKSPACE}/confirm",
    f"{IN_A_WORKSPACE}/plan/policy",
    f"{IN_A_WORKSPACE}/account/name",
    f"{IN_A_WORKSPACE}/account/email",
    f"{IN_A_WORKSPACE}/account/time-zone",
    f"{IN_A_WORKSPACE}/account/sessions/end-others",
    f"{IN_A_WORKSPACE}/account/sessions/{{session_id}}/end",
    f"{WEBHOOK}/status",
    f"{WEBHOOK}/test",
    f"{WEBHOOK}/resend-failed",
    f"{WEBHOOK}/deliveries/{{delivery_id}}/redeliver",
}
"""Addresses that only lead to another page."""


def html(survey: Survey) -> list[Page]:
    """Return all pages, without the files."""
    return [seen for seen in survey.pages if is_html(seen)]


def test_every_page_is_reached(survey: Survey) -> None:
    """Every route is reachable, so a new page is part of all tests that walk the pages."""
    seen = set().union(*(visitor.patterns for visitor in survey.visitors.values()))
    looks = {r.path for r in survey.routes if r.methods and "GET" in r.methods}
    unseen = looks - seen - ROUTES_WITHOUT_A_PAGE - {"/static/{digest}/{name}"}
    assert unseen == set()
    assert len(seen) >= 25


def test_every_act_is_a_form(survey: Survey) -> None:
    """Every POST action has a form on some page, so it works without scripts."""
    acts = {r.path for r in survey.routes if r.methods and "POST" in r.methods}
    assert acts - {form.pattern for _, form in survey.forms} == set()


def test_nothing_on_the_way_is_broken(survey: Survey) -> None:
    """No link leads to a refusal or an error; a request for recent authentication is neither."""
    for who, visitor in survey.visitors.items():
        refused = [s for s in visitor.pages if s.status != 200]
        questions = [s for s in refused if s.status == 403 and "proof_password" in s.html]
        assert [(who, s.path, s.status) for s in refused if s not in questions] == []


def test_no_page_is_kept(survey: Survey) -> None:
    """Pages that depend on the user are `no-store`; only files named by their content may be cached."""
    for seen in survey.pages:
        assert seen.headers.get_list("cache-control") == ["no-store"], seen.path


def test_nothing_on_a_page_is_inline_or_foreign(survey: Survey) -> None:
    """Scripts, styles and pictures are files of this origin, and their names change with their content."""
    for seen in html(survey):
        assert all(re.match(r"/static/[0-9a-f]{8,}/", url) for url in assets_of(seen)), seen.path
        for element in seen.tree.walk():
            assert not is_inline(element), (seen.path, element)


def is_inline(element: Element) -> bool:
    """Return whether it contains a script or a style itself."""
    own_script = element.tag == "script" and "src" not in element.attributes
    handlers = {n for n in element.attributes if n == "style" or n.startswith(("on", "hx-on"))}
    return own_script or element.tag == "style" or bool(handlers)


def test_pages_are_light(survey: Survey) -> None:
    """The first visit to a page loads at most 100 kB, everything included."""
    weights = {seen.path: weight(survey, seen) for seen in html(survey)}
    assert {path: size for path, size in weights.items() if size > MOST_BYTES} == {}


def weight(survey: Survey, seen: Page) -> int:
    """Return the bytes of a page and of its files as transferred, compressed."""
    return len(gzip.compress(seen.html.encode())) + sum(survey.files[u] for u in assets_of(seen))


def test_pages_are_well_made(survey: Survey) -> None:
    """One h1; a title; unique IDs; references that resolve; every field has a readable label."""
    for seen in html(survey):
        elements = list(seen.tree.walk())
        assert len(seen.tree.all("h1")) == 1, seen.path
        ids = [e.attributes["id"] for e in elements if "id" in e.attributes]
        assert len(ids) == len(set(ids)), (seen.path, ids)
        assert unnamed(seen.tree) == [], seen.path
        for element in elements:
            assert targets(element) <= set(ids), (seen.path, element.tag, element.attributes)


def targets(element: Element) -> set[str]:
    """Return the IDs that an element refers to. The dialog's title comes with its content."""
    names = ("for", "aria-describedby", "aria-labelledby", "aria-controls", "list")
    if element.tag == "dialog":
        return set()
    return {id for name in names for id in element.attributes.get(name, "").split()}


def unnamed(tree: Element) -> list[dict[str, str]]:
    """Return the fields without a label around them or for them."""
    labels = tree.all("label")
    labelled = {label.attributes.get("for") for label in labels}
    inside = {id(e) for label in labels for e in label.walk()}
    fields = [e for e in tree.walk() if e.tag in {"input", "textarea", "select"}]
    shown = [e for e in fields if e.attributes.get("type") != "hidden"]
    return [
        e.attributes
        for e in shown
        if id(e) not in inside
        and e.attributes.get("id") not in labelled
        and "aria-label" not in e.attributes
    ]


@pytest.mark.parametrize("who", ["owner", "viewer"])
def test_headings_do_not_skip(survey: Survey, who: str) -> None:
    """An h2 follows an h1, an h3 an h2: screen readers announce the structure."""
    for seen in [s for s in survey.visitors[who].pages if is_html(s)]:
        levels = [int(e.tag[1]) for e in seen.tree.walk() if re.fullmatch("h[1-6]", e.tag)]
        assert levels[0] == 1, seen.path
        steps = [(a, b) for a, b in pairwise(levels) if b > a + 1]
        assert steps == [], (seen.path, levels)


def test_the_walk_is_not_empty(survey: Survey) -> None:
    """The walk is not empty: three workspaces, many pages, and a form for each action."""
    assert len(survey.visitors["owner"].pages) > 20
    assert (
        len({s.path.split("/")[2] for s in survey.visitors["owner"].pages if "/w/" in s.path}) == 3
    )
    assert len(survey.files) >= 8
