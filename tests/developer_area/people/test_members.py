"""Members, roles, invitations and the workspace's name: who may do what, and what every member sees."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from keystead.developer_area.sign_in.cookies import SESSION
from keystead.domain.roles import PERMISSIONS, Permission
from keystead.domain.step_up import STEP_UP
from keystead.domain.workspaces import Member, Role
from tests.developer_area.conftest import Area, session_of
from tests.support.browser import Browser, Page
from tests.support.people import RIGHT, acting
from tests.support.visitors import OTHER, enter, portal_link, sign_in, with_password

GUEST = "gus@keys.example"


def url(area: Area, end: str = "") -> str:
    """Return the URL of the members page."""
    return f"/w/{area.workspace_id}/members{end}"


def status_of(seen: Page) -> str:
    """Return the text of the status region."""
    return seen.tree.one("div", id="status").text


def submit(browser: Browser, address: str, **values: str) -> Page:
    """Send the form of the page with its own URL."""
    return browser.submit(browser.open(address), address, **values)


def invite(area: Area, browser: Browser, role: str = "developer", email: str = GUEST) -> str:
    """Create an invitation and return its link, which is shown once."""
    page = browser.open(url(area, "/invitations/new"))
    created = browser.submit(page, url(area, "/invitations"), email=email, role=role)
    assert created.status == 201, created.tree.text
    link = created.tree.one("textarea", id="invitation-link").raw
    assert re.fullmatch(r"https://keys\.example/invitation\?link=[\w-]{43}", link)
    return link.removeprefix("https://keys.example")


def roles_of(area: Area) -> dict[str, str]:
    """Return the role of each member by name."""
    return {m.user.name: m.role for m in area.services.members.list(area.principal).items}


def test_the_page_shows_the_people_and_the_one_table(each_area: Area) -> None:
    """Every member sees the members, what each role may do, and which actions ask for authentication."""
    each_area.member(Role.VIEWER, name="Vic")
    dana = each_area.member(Role.DEVELOPER, name="Dana")
    for member in (each_area.owner, dana):
        shown_to = roles_of_as(each_area, member)
        assert shown_to == {"Owner": "owner", "Vic": "viewer", "Dana": "developer"}
    page = each_area.signed_in(dana).open(url(each_area))
    shown = {}
    for line in page.tree.all("table")[1].all("tr")[1:]:
        marks = [cell.one("span", class_="unseen").text for cell in line.all("td")]
        shown[line.one("th").text] = marks
    own = "Manage your own account"
    assert shown == {
        f"{right.label}{asks_again(permission)}": [
            "yes" if role in right.roles else "no" for role in Role
        ]
        for permission, right in PERMISSIONS.items()
    } | {f"{own}{asks_again(None)}": ["yes" for _ in Role]}
    assert "3 of 3 members" in page.tree.text


def asks_again(permission: Permission | None) -> str:
    """Return what the table says about a permission's actions that need recent authentication."""
    steps = [step for step in STEP_UP.values() if step.permission is permission]
    return "".join(f" Needs a recent sign-in: {step.label}" for step in steps)


def test_a_role_is_changed_for_the_next_request(each_area: Area) -> None:
    """A developer who becomes a viewer is refused immediately, even with a form that was already open."""
    dana = each_area.member(Role.DEVELOPER, name="Dana")
    browser = each_area.signed_in(dana)
    open_form = browser.open(f"{each_area.keys_url}/new")
    owner = each_area.signed_in()
    seen = submit(owner, url(each_area, f"/{dana.user.id}/role"), role="viewer")
    assert (seen.path, status_of(seen)) == (url(each_area), "Dana is now a viewer.")
    late = browser.submit(
        open_form, each_area.keys_url, description="late", expiry="30", access="full"
    )
    assert (late.status, each_area.active()) == (403, 0)
    assert browser.open(each_area.keys_url).status == 200


def test_a_member_is_removed_immediately_and_their_keys_stay(each_area: Area) -> None:
    """Removed members are signed out with their next request; their keys stay, managed by the others."""
    dana = each_area.member(Role.DEVELOPER, name="Dana")
    each_area.key("of Dana", by=dana)
    browser = each_area.signed_in(dana)
    seen = submit(each_area.signed_in(), url(each_area, f"/{dana.user.id}/remove"))
    assert status_of(seen) == "Dana was removed. Their keys keep working."
    assert browser.open(each_area.keys_url).path.startswith("/sign-in")
    assert each_area.active() == 1


def test_the_last_owner_stays(each_area: Area) -> None:
    """The only owner can neither leave nor change their own role, and the page says why."""
    browser = each_area.signed_in()
    own = each_area.owner.user.id
    for address, values in (
        (url(each_area, "/leave"), {}),
        (url(each_area, f"/{own}/role"), {"role": "viewer"}),
    ):
        seen = submit(browser, address, **values)
        assert seen.status == 409
        assert "This is the workspace's only owner" in seen.tree.text
    second = each_area.member(Role.OWNER, name="Olga")
    assert submit(browser, url(each_area, "/leave")).path == "/sign-in"
    assert roles_of_as(each_area, second) == {"Olga": "owner"}


def roles_of_as(area: Area, member: Member) -> dict[str, str]:
    """Return the same, as that member sees it."""
    rows = area.signed_in(member).open(url(area)).rows()
    return {row["Name"].removesuffix(" you"): row["Role"].lower() for row in rows}


def refusals(area: Area, browser: Browser, member: Member) -> Iterator[Page]:
    """Try every action of managing members: its page, then its form."""
    token = browser.open(area.keys_url).tree.all("input", name="form_token")[0].attributes["value"]
    for end in (f"/{member.user.id}/role", f"/{member.user.id}/remove", "/workspace-name"):
        yield browser.open(url(area, end))
        fields = [("form_token", token), ("role", "viewer"), ("name", "taken over")]
        yield browser.post(url(area, end), fields)


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.VIEWER])
def test_other_roles_change_no_member(area: Area, role: Role) -> None:
    """Developers and viewers see the members, are offered no action, and are refused if they try one."""
    dana = area.member(role, name="Dana")
    other = area.member(Role.VIEWER, name="Vic")
    browser = area.signed_in(dana)
    page = browser.open(url(area))
    assert [row["Actions"] for row in page.rows() if "Dana" not in row["Name"]] == ["", ""]
    assert "Invite" not in page.tree.one("main").text.replace("Invite and remove", "").replace(
        "Invite or", ""
    )
    before = roles_of(area)
    for seen in [*refusals(area, browser, other), browser.open(url(area, "/invitations"))]:
        assert (seen.status, seen.heading) == (403, "Your role doesn't allow this")
    assert roles_of(area) == before
    assert area.services.workspaces.get(area.workspace_id).name == "My workspace"


def test_an_admin_appoints_no_owners(area: Area) -> None:
    """Admins are not offered the owner role, and are refused if they ask for it, even for themselves."""
    ann = area.member(Role.ADMIN, name="Ann")
    browser = area.signed_in(ann)
    page = browser.open(url(area, f"/{ann.user.id}/role"))
    offered = [i.attributes["value"] for i in page.tree.all("input", type="radio")]
    assert offered == ["admin", "developer", "viewer"]
    token = page.tree.all("input", name="form_token")[0].attributes["value"]
    fields = [("form_token", token), ("role", "owner"), ("email", GUEST)]
    for address in (url(area, f"/{ann.user.id}/role"), url(area, "/invitations")):
        assert browser.post(address, fields).status == 403
    for act_of in ("role", "remove"):
        address = url(area, f"/{area.owner.user.id}/{act_of}")
        assert browser.open(address).status == 403
        assert browser.post(address, fields).status == 403
    assert roles_of(area) == {"Owner": "owner", "Ann": "admin"}


def test_an_unknown_member_and_role_are_refused(area: Area) -> None:
    """A user who is not a member here gets 404; an unknown role changes nothing."""
    nora = area.services.workspaces.create("Other", owner="Nora")
    stranger = area.services.workspaces.owner(nora.id)
    browser = area.signed_in()
    for id in (stranger.user.id, "usr_0000000000000000000000", "x"):
        assert browser.open(url(area, f"/{id}/role")).status == 404
        assert browser.open(url(area, f"/{id}/remove")).status == 404
    vic = area.member(Role.VIEWER, name="Vic")
    page = browser.open(url(area, f"/{vic.user.id}/role"))
    token = page.tree.all("input", name="form_token")[0].attributes["value"]
    seen = browser.post(page.path, [("form_token", token), ("role", "emperor")])
    assert (seen.status, roles_of(area)["Vic"]) == (422, "viewer")


def test_the_workspace_is_renamed(each_area: Area) -> None:
    """An admin renames the workspace, and every page shows the new name; an empty one is refused."""
    browser = each_area.signed_in(each_area.member(Role.ADMIN))
    seen = submit(browser, url(each_area, "/workspace-name"), name="Acme Robotics")
    assert status_of(seen) == "The workspace is now called Acme Robotics."
    assert "Acme Robotics" in browser.open(each_area.keys_url).tree.text
    assert submit(browser, url(each_area, "/workspace-name"), name="x" * 101).status == 422


def test_an_invitation_makes_a_new_member(each_area: Area) -> None:
    """The link makes one new user a member with the invited role; their new password signs them in again."""
    link = invite(each_area, each_area.signed_in())
    guest = each_area.browser()
    for _ in range(2):
        guest.open(link)
    page = guest.open(link)
    assert (page.status, page.heading) == (200, "Join “My workspace”")
    planted = session_of(guest)
    seen = guest.submit(page, "/invitation", name="Gus", password=RIGHT, again=RIGHT)
    assert (seen.path, roles_of(each_area)["Gus"]) == (each_area.keys_url, "developer")
    assert session_of(guest) != planted
    enter(each_area, GUEST, RIGHT)
    late = each_area.browser().open(link)
    assert (late.status, late.heading) == (404, "This invitation has expired or was already used")


def test_an_invitation_without_a_password(area: Area) -> None:
    """A password is not required yet; an invalid one is refused, and doesn't use up the invitation."""
    link = invite(area, area.signed_in(), "viewer")
    guest = area.browser()
    weak = guest.submit(guest.open(link), "/invitation", name="Gus", password="x", again="x")
    assert (weak.status, weak.tree.one("input", id="name").attributes["value"]) == (422, "Gus")
    other = guest.submit(weak, "/invitation", name="Gus", password=RIGHT, again=OTHER)
    assert (other.status, "The passwords don't match" in other.tree.text) == (422, True)
    assert guest.submit(other, "/invitation", name="Gus").path == area.keys_url


def test_who_is_signed_in_joins(each_area: Area) -> None:
    """A user with an account joins with it, whatever email was invited, and can switch workspaces."""
    other = each_area.services.workspaces.create("Other", owner="Nora")
    browser = each_area.signed_in(each_area.services.workspaces.owner(other.id))
    link = invite(each_area, each_area.signed_in(), "admin")
    page = browser.open(link)
    assert page.form("/invitation").one("button").text == "Join as Nora"
    seen = browser.submit(page, "/invitation")
    assert (seen.path, seen.link("Other")) == (each_area.keys_url, f"/w/{other.id}/keys")
    assert roles_of(each_area) == {"Owner": "owner", "Nora": "admin"}


def test_an_account_that_exists_signs_in_first(area: Area) -> None:
    """If the email has an account, the page leads to signing in, and back to the invitation."""
    other = area.services.workspaces.create("Other", owner="Nora")
    with_password(area, area.services.workspaces.owner(other.id), GUEST)
    link = invite(area, area.signed_in())
    guest = area.browser()
    taken = guest.submit(guest.open(link), "/invitation", name="Nora")
    assert taken.status == 409
    back = sign_in(guest, GUEST, RIGHT, taken.link("Sign in"))
    assert (back.path, back.heading) == (link, "Join “My workspace”")
    assert guest.submit(back, "/invitation").path == area.keys_url


def test_a_full_plan_does_not_use_up_the_invitation(area: Area) -> None:
    """Without room the page says so; once there is room, the same link works."""
    owner = area.signed_in()
    link = invite(area, owner)
    fillers = [area.member(Role.VIEWER, name=f"Filler {n}") for n in range(2)]
    assert "no room for another member." in owner.open(url(area)).tree.text
    guest = area.browser()
    full = guest.submit(guest.open(link), "/invitation", name="Gus")
    assert (full.status, "open this link again" in full.tree.text) == (409, True)
    submit(owner, url(area, f"/{fillers[0].user.id}/remove"))
    assert guest.submit(full, "/invitation", name="Gus").path == area.keys_url


def test_an_invitation_is_revoked(each_area: Area) -> None:
    """A revoked link doesn't work; the list shows the state of each invitation, and never its link again."""
    browser = each_area.signed_in()
    link = invite(each_area, browser)
    page = browser.open(url(each_area, "/invitations"))
    assert [(row["Email"], row["Status"]) for row in page.rows()] == [(GUEST, "Open")]
    assert link.partition("=")[2] not in page.html
    revoke = page.link("Revoke")
    seen = submit(browser, revoke)
    assert status_of(seen) == f"The invitation of {GUEST} was revoked."
    assert [row["Status"] for row in seen.rows()] == ["Revoked"]
    assert each_area.browser().open(link).status == 404


def test_who_is_a_member_is_not_invited(area: Area) -> None:
    """The email of a member and an invalid one are refused at their field."""
    with_password(area, area.member(Role.VIEWER), GUEST)
    browser = area.signed_in()
    page = browser.open(url(area, "/invitations/new"))
    again = browser.submit(page, url(area, "/invitations"), email=GUEST, role="viewer")
    assert (again.status, "is a member already" in again.tree.text) == (422, True)
    none = browser.submit(page, url(area, "/invitations"), email="nobody", role="viewer")
    assert (none.status, "must be an email address" in none.tree.text) == (422, True)


def test_a_products_user_needs_another_account_here(area: Area) -> None:
    """A product's user cannot join with that session: the page offers to create another account."""
    other = area.services.workspaces.create("Other", owner="Nora")
    link, _ = area.services.invitations.invite(
        acting(area.services.workspaces.owner(other.id)), GUEST, Role.VIEWER
    )
    browser = area.browser()
    browser.submit(browser.open(portal_link(area)), "/sign-in")
    page = browser.open(f"/invitation?link={link.reveal()}")
    before = browser.cookies[SESSION]
    assert browser.submit(page, "/invitation", name="Pat").path == f"/w/{other.id}/keys"
    old = area.browser()
    old.cookies.set(SESSION, before)
    assert old.open("/").path == "/sign-in"


@pytest.mark.parametrize("link", ["", "x", "A" * 43, "A" * 5000, "%00", "ü"])
def test_an_invented_invitation_is_refused(area: Area, link: str) -> None:
    """An invitation that never existed gets the same answer as a used one."""
    assert area.browser().open(f"/invitation?link={link}").status in {400, 404}


def test_a_suspended_workspace_says_so(area: Area) -> None:
    """From the next request on, the pages say that the workspace's keys are refused, and they are."""
    browser = area.signed_in()
    token = area.key()
    area.services.workspaces.suspend(area.workspace_id)
    assert "This workspace is suspended." in browser.open(url(area)).tree.text
    verdict = area.services.verifier.verify(token.reveal())
    assert type(verdict).__name__ == "Denied"


def test_members_stand_on_pages(area: Area) -> None:
    """A long list is paged, with each member once."""
    area.services.workspaces.set_plan(area.workspace_id, "scale")
    for number in range(60):
        area.member(Role.VIEWER, name=f"Viewer {number}")
    browser = area.signed_in()
    first = browser.open(url(area))
    second = browser.open(first.link("More"))
    assert (len(first.rows()), len(second.rows())) == (50, 11)
    assert {r["Name"] for r in first.rows()}.isdisjoint(r["Name"] for r in second.rows())


def test_older_forms_of_a_role_and_a_name_change_nothing(each_area: Area) -> None:
    """A form with an older role or name shows the current one, and changes nothing (R105)."""
    browser = each_area.signed_in()
    dana = each_area.member(Role.DEVELOPER, name="Dana")
    role_url, name_url = url(each_area, f"/{dana.user.id}/role"), url(each_area, "/workspace-name")
    role_form, name_form = browser.open(role_url), browser.open(name_url)
    assert submit(browser, role_url, role="viewer").status == 200
    assert submit(browser, name_url, name="Acme Robotics").status == 200
    refused = browser.submit(role_form, role_url, role="admin")
    assert (
        refused.status,
        "Role: you entered “admin”, it is now “viewer”" in refused.tree.text,
    ) == (
        409,
        True,
    )
    refused = browser.submit(name_form, name_url, name="Other")
    assert (
        refused.status,
        "Name: you entered “Other”, it is now “Acme Robotics”" in refused.tree.text,
    ) == (
        409,
        True,
    )
    member = each_area.services.members.get(each_area.principal, dana.user.id)
    workspace = each_area.services.workspaces.get(each_area.workspace_id)
    assert (member.role, workspace.name) == (Role.VIEWER, "Acme Robotics")
    assert browser.submit(refused, name_url, name="Other").status == 200
