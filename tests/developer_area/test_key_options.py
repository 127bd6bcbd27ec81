"""Networks, metadata and renewal in the forms of a key, and on its page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keystead.domain.keys import KeyPatch
from keystead.domain.renewals import Renewal
from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area
from tests.support.browser import filled
from tests.support.key_pages import create, newest

HOSTILE = '"><script>alert(1)</script>'
OPTIONS = {
    "networks": "2001:db8::1\r\n\r\n 203.0.113.0/24 \r\n",
    "metadata": f"customer=42\r\nnote = a=b {HOSTILE}",
    "renewal": "on",
    "renewal_on": "2027-06-30",
}
END = datetime(2027, 6, 30, 23, 59, 59, tzinfo=UTC)


def edited(area: Area, **fields: str | tuple[str, ...]) -> tuple[int, str]:
    """Send the edit form of the newest key with other values. Returns the status and the page."""
    url = f"{area.keys_url}/{newest(area).id}/edit"
    browser = area.signed_in()
    form = browser.open(url).form(url)
    own = [(name, value) for name, value in filled(form, {}) if name not in fields]
    sent = [
        (name, each)
        for name, value in fields.items()
        for each in ((value,) if isinstance(value, str) else value)
    ]
    seen = browser.post(url, [*own, *sent])
    return seen.status, seen.tree.text


def test_a_form_sets_them_and_the_page_shows_them(each_area: Area) -> None:
    """A block or a label on each line, and the last day; the key's page shows all three, as text."""
    browser = each_area.signed_in()
    seen = create(each_area, browser, expiry="365", access="read-only", **OPTIONS)
    assert seen.status == 201
    key = newest(each_area)
    assert list(key.networks) == ["203.0.113.0/24", "2001:db8::1/128"]
    assert key.metadata == {"customer": "42", "note": f"a=b {HOSTILE}"}
    assert key.renewal == Renewal(END)
    page = browser.open(f"{each_area.keys_url}/{key.id}")
    for text in ("203.0.113.0/24", "2001:db8::1/128", "customer = 42", f"note = a=b {HOSTILE}"):
        assert text in page.tree.text
    assert "May rotate itself" in page.tree.text
    assert HOSTILE not in page.html


def test_every_viewer_sees_them(area: Area) -> None:
    """A viewer's page of a key shows all three, and offers no form."""
    create(area, area.signed_in(), expiry="365", access="read-only", **OPTIONS)
    viewer = area.signed_in(area.member(Role.VIEWER, name="Vi"))
    page = viewer.open(f"{area.keys_url}/{newest(area).id}").tree.text
    for text in ("203.0.113.0/24", "customer = 42", "May rotate itself"):
        assert text in page
    assert "Edit" not in page


def test_a_form_without_them_sets_nothing(area: Area) -> None:
    """Left alone, the new fields change nothing: anywhere, no label, no renewal; the page doesn't mention them."""
    browser = area.signed_in()
    create(area, browser)
    key = newest(area)
    assert (list(key.networks), key.metadata, key.renewal) == ([], {}, None)
    page = browser.open(f"{area.keys_url}/{key.id}").tree.text
    assert "Networks" not in page
    assert "May rotate itself" not in page


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("networks", "203.0.113.0/24\n\n10.0.0.1/8", "Line 3 must have its host bits zero"),
        ("networks", "\n".join(f"10.0.{n}.0/24" for n in range(51)), "at most 50 networks"),
        ("metadata", "customer=42\nteam", "Line 2 must be a name, =, and a value"),
        ("metadata", "a=1\na=2", "Line 2 repeats a name"),
        ("metadata", "a b=1", "Metadata must have names of 1-40 letters"),
        ("metadata", "a=" + "x" * 2_048, "Metadata must have at most 2,048 bytes"),
        ("renewal_on", "2020-01-01", "Renewal must be later than now"),
        ("renewal_on", "soon", "Renewal must be a valid date"),
    ],
)
def test_a_malformed_one_is_explained_and_kept(
    area: Area, field: str, value: str, problem: str
) -> None:
    """The sentence names the line; what was typed stays, and the section is open."""
    before = newest_id(area)
    seen = create(area, area.signed_in(), renewal="on", **{field: value})
    assert seen.status == 422
    assert problem in seen.tree.text
    assert "open" in seen.tree.one("details", class_="field more-options").attributes
    assert newest_id(area) == before
    if field != "renewal_on":
        assert seen.tree.one("textarea", id=field).raw.split() == value.split()


def newest_id(area: Area) -> str:
    """Return the id of the newest key; empty if there is none."""
    keys = area.services.keys.list(area.principal, limit=1).items
    return keys[0].id if keys else ""


def test_an_edit_changes_what_was_changed(area: Area) -> None:
    """Saving the form as it was changes nothing; lines that were removed are removed, and so is the renewal."""
    browser = area.signed_in()
    create(area, browser, expiry="365", access="read-only", **OPTIONS)
    exact = Renewal(END - timedelta(hours=5))
    keys = area.services.keys
    before = keys.update(area.principal, newest(area).id, KeyPatch(renewal=exact))
    assert edited(area)[0] == 200
    assert newest(area) == before
    assert edited(area, networks="203.0.113.0/24", metadata="customer=43", renewal=("",))[0] == 200
    after = newest(area)
    assert (list(after.networks), after.metadata) == (["203.0.113.0/24"], {"customer": "43"})
    assert after.renewal is None
    assert edited(area, networks="", metadata="")[0] == 200
    assert (list(newest(area).networks), newest(area).metadata) == ([], {})


def test_an_outdated_form_names_them(area: Area) -> None:
    """A form from before another change saves nothing, and shows both values."""
    browser = area.signed_in()
    create(area, browser)
    key = newest(area)
    status, page = edited(area, networks="10.0.0.0/8", metadata="a=1", version="0")
    assert status == 409
    assert "Networks: you entered “10.0.0.0/8”, it is now “”" in page
    assert "Metadata: you entered “a=1”, it is now “”" in page
    assert newest(area) == key
