"""The Developer area of an installation without the document store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keystead.domain.keys import KeyDraft
from keystead.domain.scopes import OF_DOCUMENTS, WEBHOOKS_WRITE
from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area, opened
from tests.support.surface import Walk


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Area]:
    """An area over SQLite without the document store."""
    url = f"sqlite:///{tmp_path / 'keystead.db'}"
    with opened(url, features={"collections": False}) as area:
        yield area


def test_no_page_mentions_it(bare: Area) -> None:
    """A walk through all pages meets neither collections nor documents, nor a broken link."""
    bare.key("used")
    bare.member(Role.DEVELOPER)
    walk = Walk(bare.signed_in(), bare.app).through(bare.keys_url)
    assert len(walk.pages) > 15
    for page in walk.pages:
        assert page.status in {200, 403}, page.path
        text = page.html.lower()
        assert "collection" not in text, page.path
        assert "documents" not in text, page.path


def test_its_pages_do_not_exist(bare: Area) -> None:
    """Their addresses are the page that never existed."""
    browser, base = bare.signed_in(), f"/w/{bare.workspace_id}"
    for path in ("collections", "new-collection", "collections/docs"):
        assert browser.open(f"{base}/{path}").status == 404


def test_read_only_has_the_scopes_that_are_left(bare: Area) -> None:
    """A read-only key is created, listed as one, and has no scope of the document store."""
    browser = bare.signed_in()
    form = browser.open(f"{bare.keys_url}/new")
    made = browser.submit(form, bare.keys_url, description="reads", expiry="30", access="read-only")
    assert made.status == 201
    (key,) = bare.services.keys.list(bare.principal).items
    assert len(key.scopes) > 2
    assert not OF_DOCUMENTS & set(key.scopes)
    listed = browser.open(f"{bare.keys_url}?access=read-only")
    assert "reads" in listed.html


def test_a_key_can_be_made_read_only(bare: Area) -> None:
    """Editing offers it to a key that has more than the scopes that are left, and to no key with exactly these."""
    scopes = [*bare.services.keys.catalog.read_only, WEBHOOKS_WRITE]
    key, browser = (
        bare.services.keys.create(bare.principal, KeyDraft("x", None, scopes)).key,
        bare.signed_in(),
    )
    url = f"{bare.keys_url}/{key.id}/edit"
    assert browser.submit(browser.open(url), url, access="read-only").status == 200
    kept = bare.services.keys.get(bare.principal, key.id).scopes
    assert kept == bare.services.keys.catalog.read_only
    options = browser.open(url).tree.all("input", name="access")
    assert [option.attributes["value"] for option in options] == ["keep", "chosen"]
