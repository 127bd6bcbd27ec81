"""Another workspace's resources are like ones that never existed; and each role's actions."""

from __future__ import annotations

import pytest

from keystead.domain.ids import WorkspaceId
from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area
from tests.support.administrator import write_behind
from tests.support.browser import Browser, Page
from tests.support.key_pages import create

NOWHERE = "ws_0000000000000000000000"
NO_KEY = "key_0000000000000000000000"
PAGES = ("", "/new", "?show=history", "?query=a", "/{key}/revoke")
ACTS = ("", "/{key}/revoke")


def neighbour(area: Area) -> tuple[WorkspaceId, str, Browser]:
    """Return another workspace, a key in it, and its owner's browser."""
    other = area.services.workspaces.create("Neighbour", owner="Nora")
    owner = area.services.workspaces.owner(other.id)
    return other.id, area.key("theirs", by=owner).key_id, area.signed_in(owner)


def act(browser: Browser, url: str) -> Page:
    """Send the form of an action, with this browser's own token."""
    token = browser.open("/").tree.all("input", name="form_token")[0].attributes["value"]
    fields = {
        "form_token": token,
        "once": "A" * 22,
        "description": "x",
        "expiry": "30",
        "access": "full",
    }
    fields["expires_on"] = ""
    return browser.post(url, fields.items())


def visible(seen: Page) -> tuple[int, str, list[tuple[str, str]]]:
    """Return everything in a response except its ID."""
    headers = [(n, v) for n, v in seen.headers.multi_items() if n != "x-request-id"]
    return seen.status, seen.html, headers


def test_another_workspace_is_not_there(each_area: Area) -> None:
    """Every page and action of it, with its own or invented keys, answers like a workspace that never existed."""
    theirs, their_key, _ = neighbour(each_area)
    browser = each_area.signed_in()
    probes = 0
    for key in (their_key, NO_KEY, "key_x", "%27"):
        for page in PAGES:
            path = page.format(key=key)
            nowhere = visible(browser.open(f"/w/{NOWHERE}/keys{path}"))
            assert nowhere[0] == 404
            assert visible(browser.open(f"/w/{theirs}/keys{path}")) == nowhere, path
            probes += 1
        for page in ACTS:
            path = page.format(key=key)
            nowhere = visible(act(browser, f"/w/{NOWHERE}/keys{path}"))
            assert nowhere[0] == 404
            assert visible(act(browser, f"/w/{theirs}/keys{path}")) == nowhere, path
            probes += 1
    assert probes == 28
    assert each_area.services.keys.list(each_area.principal).items == []


def test_another_workspaces_key_is_not_there(each_area: Area) -> None:
    """In the user's own workspace, another one's key answers like one that never existed, and is unchanged."""
    theirs, their_key, owner = neighbour(each_area)
    browser = each_area.signed_in()
    for key in (their_key, NO_KEY):
        url = f"{each_area.keys_url}/{key}/revoke"
        assert visible(browser.open(url)) == visible(
            browser.open(f"{each_area.keys_url}/{NO_KEY}/revoke")
        )
        assert visible(act(browser, url)) == visible(
            act(browser, f"{each_area.keys_url}/{NO_KEY}/revoke")
        )
        assert browser.open(url).status == 404
    assert len(owner.open(f"/w/{theirs}/keys?show=active").rows()) == 1


def test_lists_searches_and_counts_are_of_one_workspace(each_area: Area) -> None:
    """Activity in another workspace changes nothing on the user's own page."""
    browser = each_area.signed_in()
    each_area.key("mine")
    urls = ["", "?query=m", "?show=history", "/new"]
    before = [browser.open(each_area.keys_url + url).tree.text for url in urls]
    _, their_key, _ = neighbour(each_area)
    seen = [*urls, f"?query={their_key}", f"?changed={their_key}"]
    assert [browser.open(each_area.keys_url + url).tree.text for url in urls] == before
    assert all("theirs" not in browser.open(each_area.keys_url + url).html for url in seen)


def test_a_cursor_of_another_workspace_does_not_fit(area: Area) -> None:
    """The cursor of one workspace is refused in another."""
    theirs, _, owner = neighbour(area)
    area.services.workspaces.set_plan(theirs, "scale")
    for number in range(50):
        area.key(str(number), by=area.services.workspaces.owner(theirs))
    older = owner.open(f"/w/{theirs}/keys").link("Older")
    cursor = older.partition("?")[2]
    assert area.signed_in().open(f"{area.keys_url}?{cursor}").status == 422


def test_a_person_in_two_workspaces_sees_each(area: Area) -> None:
    """One session serves every workspace of its user, each with its own keys and role."""
    area.clock.advance(seconds=1)  # ids sort by their creation time
    theirs, _, _ = neighbour(area)
    with write_behind(area.installation.database) as tx:
        from keystead.domain.workspaces import Member
        from keystead.storage.tables.workspaces import insert_member

        insert_member(tx, Member(theirs, area.owner.user, Role.VIEWER), area.clock.now())
    browser = area.signed_in()
    assert browser.open("/").path == area.keys_url
    there = browser.open(f"/w/{theirs}/keys")
    assert "Neighbour" in there.tree.text
    assert [row["Actions"] for row in there.rows()] == [""]


def test_a_viewer_changes_nothing(area: Area) -> None:
    """A viewer sees the keys and the reason for having no actions; every action is refused."""
    token = area.key("sync")
    browser = area.signed_in(area.member(Role.VIEWER))
    page = browser.open(area.keys_url)
    assert page.status == 200
    assert (
        "You can view keys. Ask an admin of this workspace to create one for you." in page.tree.text
    )
    assert "Create key" not in page.tree.text
    assert [row["Actions"] for row in page.rows()] == [""]
    revoke = f"{area.keys_url}/{token.key_id}/revoke"
    for seen in (
        browser.open(f"{area.keys_url}/new"),
        browser.open(revoke),
        act(browser, area.keys_url),
        act(browser, revoke),
    ):
        assert (seen.status, seen.heading) == (403, "Your role doesn't allow this")
    assert area.active() == 1


def test_a_developer_revokes_only_their_own(area: Area) -> None:
    """Developers create keys and revoke their own, but not those of others."""
    dana = area.member(Role.DEVELOPER, name="Dana")
    theirs = area.key("of the owner")
    browser = area.signed_in(dana)
    assert create(area, browser, description="of Dana").status == 201
    actions = {row["Description"]: row["Actions"] for row in browser.open(area.keys_url).rows()}
    own = "⋯"
    assert actions == {"of Dana Full access": own, "of the owner Full access": ""}
    url = f"{area.keys_url}/{theirs.key_id}/revoke"
    assert browser.open(url).status == 403
    assert act(browser, url).status == 403
    question = browser.open(
        browser.open(browser.open(area.keys_url).link("⋯")).link("Revoke of Dana")
    )
    assert browser.submit(question, question.path).status == 200
    assert area.active() == 1


def test_a_developer_cannot_grant_keys_write(area: Area) -> None:
    """The scope that manages all keys is disabled for developers, with the reason, and is refused if sent."""
    browser = area.signed_in(area.member(Role.DEVELOPER))
    page = browser.open(f"{area.keys_url}/new")
    offered = page.tree.all("input", name="scope_keys")
    assert [i.attributes["value"] for i in offered if "disabled" not in i.attributes] == [
        "none",
        "read",
    ]
    assert page.tree.one("span", id="scope_keys-reason").text == "Your role can't grant Write."
    token = page.tree.all("input", name="form_token")[0].attributes["value"]
    fields = [("form_token", token), ("once", "A" * 22), ("description", "x"), ("expiry", "30")]
    seen = browser.post(area.keys_url, [*fields, ("access", "chosen"), ("scope_keys", "write")])
    assert (seen.status, seen.heading) == (403, "You can't grant more than you have")
    assert area.active() == 0


@pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN])
def test_owners_and_admins_revoke_every_key(area: Area, role: Role) -> None:
    """Owners and admins can revoke the keys of any member."""
    area.key("of Dana", by=area.member(Role.DEVELOPER, name="Dana"))
    browser = area.signed_in(area.member(role))
    question = browser.open(
        browser.open(browser.open(area.keys_url).link("⋯")).link("Revoke of Dana")
    )
    assert browser.submit(question, question.path).status == 200
    assert area.active() == 0
