"""Templates show all of their contexts and nothing else, and text from users stays text."""

from __future__ import annotations

import dataclasses
import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module

import pytest
from jinja2 import Environment, nodes
from jinja2.meta import find_undeclared_variables

from keystead import developer_area
from keystead.developer_area.web import contexts as pages
from keystead.developer_area.web.assets import FOLDER
from keystead.developer_area.web.brand import Brand
from keystead.developer_area.web.render import TEMPLATES, Renderer
from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area, opened
from tests.support.browser import Browser, Page
from tests.support.hostile_texts import PAYLOADS
from tests.support.key_pages import create, forced, used
from tests.support.markup import skeleton

ENVIRONMENT: Environment = Renderer(Brand()).environment
SOURCES = sorted(TEMPLATES.glob("*.html"))
MODULES = [
    import_module(name)
    for _, name, _ in pkgutil.walk_packages(developer_area.__path__, f"{developer_area.__name__}.")
    if name.endswith(".contexts")
]
CONTEXTS = [
    page
    for module in MODULES
    for _, page in inspect.getmembers(module, dataclasses.is_dataclass)
    if hasattr(page, "template") and page.__module__ == module.__name__
]


def ancestry(name: str) -> Iterator[nodes.Template]:
    """Yield a template and all that it extends."""
    source = (TEMPLATES / name).read_text()
    tree = ENVIRONMENT.parse(source)
    yield tree
    for parent in tree.find_all(nodes.Extends):
        assert isinstance(parent.template, nodes.Const)
        yield from ancestry(parent.template.value)


def variables(name: str) -> set[str]:
    """Return the context variables of a template and of those it extends: neither imported nor set in them."""
    names: set[str] = set()
    for tree in ancestry(name):
        imported = {n for node in tree.find_all(nodes.FromImport) for n in node.names}
        macros = {node.name for node in tree.find_all(nodes.Macro)}
        names |= find_undeclared_variables(tree) - imported - macros
    return names - set(ENVIRONMENT.globals)


@pytest.mark.parametrize("page", CONTEXTS, ids=lambda page: page.__name__)
def test_a_template_shows_its_context(page: type[pages.Page]) -> None:
    """Every variable of a template is a field of its context, and every field is shown."""
    assert variables(page.template) == {field.name for field in dataclasses.fields(page)}  # type: ignore[arg-type]


def test_every_page_has_its_context() -> None:
    """Each template belongs to a page, or is a part of one."""
    used_by_pages = {page.template for page in CONTEXTS}
    parts = {"layout.html", "area.html", "bare.html", "fields.html", "parts.html", "chart.html"}
    assert {path.name for path in SOURCES} == used_by_pages | parts
    assert len(CONTEXTS) == len(used_by_pages) >= 7


@pytest.mark.parametrize("name", ["fields.html", "parts.html"])
def test_parts_take_everything_as_arguments(name: str) -> None:
    """A macro that pages share reads only its arguments."""
    parsed = ENVIRONMENT.parse((TEMPLATES / name).read_text())
    assert find_undeclared_variables(parsed) <= {"asset"}


def test_every_form_of_a_workspace_is_sent_by_one_mechanism() -> None:
    """Each form inside the frame that changes something says what isn't known if it fails, and that it is busy."""
    count = 0
    for path in SOURCES:
        source = path.read_text()
        if '{% extends "area.html" %}' not in source:
            continue
        for form in re.findall(r"<form\b.*?</form>", source, re.DOTALL):
            if 'method="get"' in form or "data-question" in form:
                continue  # a question is sent as the form that it interrupted: see sign-in.js
            assert re.match(r"<form [^>]*\{\{ sends\(.+?, \"?\w", form), (path.name, form)
            for button in re.findall(r"<button[^>]*type=\"submit\"[^>]*>", form):
                assert "data-busy=" in button, (path.name, button)
            count += 1
    assert count >= 25


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_nothing_switches_escaping_off(path: object) -> None:
    """No template marks text as safe, or has inline scripts, styles or handlers; attributes are quoted."""
    source = path.read_text()  # type: ignore[attr-defined]
    assert not re.search(r"\|\s*safe|autoescape|Markup", source)
    assert not re.search(
        r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|hx-on|javascript:|js:", source
    )
    assert not re.search(r"=\{\{", source)


def test_escaping_and_strictness_are_on() -> None:
    """Every template escapes text, and an undefined name fails instead of showing nothing."""
    assert ENVIRONMENT.autoescape is True
    assert ENVIRONMENT.undefined.__name__ == "StrictUndefined"


def every_page(area: Area, browser: Browser, text: str) -> Iterator[tuple[str, Page]]:
    """Yield every page that shows text from users, with `text` in each of its places."""
    created = create(area, browser, description=text)
    yield "created", created
    token = area.key(text, days=1)
    used(area, token, agent=text, address=text)
    yield "keys", browser.open(area.keys_url)
    yield "revoke", browser.open(f"{area.keys_url}/{token.key_id}/revoke")
    area.services.keys.revoke(area.principal, token.key_id)
    yield "revoked", browser.open(f"{area.keys_url}?changed={token.key_id}")
    yield "history", browser.open(f"{area.keys_url}?show=history")
    yield "search", browser.submit(browser.open(area.keys_url), area.keys_url, query=text)
    yield "refused", forced(area, browser, description=text, expiry="", expires_on=text)
    for _ in range(4):
        area.key(text)
    yield "limit", browser.open(area.keys_url)
    yield (
        "sign-in",
        area.browser().open(
            "/sign-in?link=" + text.replace("%", "").replace("&", "").replace("#", "")
        ),
    )


def pages_with(area: Area, text: str) -> dict[str, Page]:
    """Return all of them, for a workspace and a user of that name; cleared afterwards."""
    workspace = area.services.workspaces.create(text, owner=text)
    owner = area.services.workspaces.owner(workspace.id)
    own = dataclasses.replace(area, owner=owner)
    return dict(every_page(own, own.signed_in(), text))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Page]:
    """The pages with harmless words everywhere."""
    with opened(f"sqlite:///{tmp_path_factory.mktemp('plain') / 'keystead.db'}") as area:
        return pages_with(area, "plain words")


@pytest.mark.slow_on("postgresql")
@pytest.mark.parametrize("payload", PAYLOADS)
def test_text_from_people_stays_text(area: Area, plain: dict[str, Page], payload: str) -> None:
    """A payload everywhere adds no element and no attribute that plain words do not have."""
    hostile = pages_with(area, payload)
    for name, seen in hostile.items():
        if (
            name != "search"
        ):  # matches nothing if the payload has no words, and then has other markup
            assert skeleton(seen.tree) == skeleton(plain[name].tree), name
        scripts = [
            s
            for s in seen.tree.all("script")
            if not s.attributes.get("src", "").startswith("/static/")
        ]
        assert scripts == []
    shown = hostile["keys"].tree.all("span", class_="name")
    assert [e.text for e in shown] == [" ".join(payload.split())] * 2
    assert hostile["keys"].tree.one("p", class_="side-workspace").text.startswith("Workspace")


def test_a_viewers_page_renders(area: Area) -> None:
    """Each state of the list renders for each role."""
    area.key("sync")
    for role in Role:
        assert area.signed_in(area.member(role)).open(area.keys_url).status == 200


def test_ids_are_unique_on_every_page(plain: dict[str, Page]) -> None:
    """IDs are unique, and every reference to an ID resolves."""
    for name, seen in plain.items():
        ids = [e.attributes["id"] for e in seen.tree.walk() if "id" in e.attributes]
        assert len(ids) == len(set(ids)), name
        for element in seen.tree.walk():
            for attribute in ("for", "aria-describedby", "aria-labelledby"):
                targets = element.attributes.get(attribute, "").split()
                if element.tag != "dialog":  # its panel comes later
                    assert set(targets) <= set(ids), (name, element.tag, targets)


def test_every_field_has_a_label(plain: dict[str, Page]) -> None:
    """Each control has a label, around it or for it."""
    for name, seen in plain.items():
        labels = seen.tree.all("label")
        labelled = {label.attributes.get("for") for label in labels}
        inside = {id(e) for label in labels for e in label.walk()}
        for control in [e for e in seen.tree.walk() if e.tag in {"input", "textarea"}]:
            if control.attributes.get("type") != "hidden":
                named = "aria-label" in control.attributes or id(control) in inside
                assert named or control.attributes.get("id") in labelled, name


def test_the_vendored_script_is_the_one_that_was_checked() -> None:
    """The library has the SHA-256 that is written next to it, and its licence."""
    import hashlib

    (script,) = (FOLDER / "vendor").glob("htmx-*.min.js")
    expected, name = (FOLDER / "vendor" / f"{script.name}.sha256").read_text().split()
    assert name == script.name
    assert hashlib.sha256(script.read_bytes()).hexdigest() == expected
    assert "BSD" in (FOLDER / "vendor" / script.name.replace(".min.js", ".LICENSE")).read_text()
