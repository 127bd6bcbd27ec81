"""Users of the Developer area for tests: with an address, with a password, from a product."""

from __future__ import annotations

from typing import Final

from keystead.domain.credentials import ActingCredential
from keystead.domain.passwords import Password
from keystead.domain.portal import PortalRequest, PortalUser
from keystead.domain.principals import Actor, PrincipalKind
from keystead.domain.sessions import LinkPurpose
from keystead.domain.workspaces import Member, Role
from keystead.storage.tables import users
from tests.developer_area.conftest import Area
from tests.support.administrator import write_behind
from tests.support.browser import Browser, Page
from tests.support.people import RIGHT

EMAIL: Final = "ada@keys.example"
OTHER: Final = "zebra lamp ocean 9 tea"


def with_password(area: Area, member: Member | None = None, email: str = EMAIL) -> Member:
    """Give the member, by default the owner, the address `email` and the password RIGHT. Returns the member."""
    member = member or area.owner
    with write_behind(area.installation.database) as tx:
        users.set_email(tx, member.user.id, email)
    services = area.services
    link, _ = services.sign_in.make_link(member, LinkPurpose.PASSWORD)
    session = services.sign_in.redeem(link).secret
    changed = services.accounts.change_password(session, Password(RIGHT))
    services.sign_in.sign_out(changed.secret)
    return member


def enter(area: Area, email: str = EMAIL, password: str = RIGHT) -> Browser:
    """Sign in by password. Returns the browser."""
    browser = area.browser()
    seen = sign_in(browser, email, password)
    assert seen.status == 200, seen.html
    return browser


def sign_in(browser: Browser, email: str, password: str, page: str = "/sign-in") -> Page:
    """Try that password. Returns the page that follows."""
    return browser.submit(browser.open(page), "/sign-in", email=email, password=password)


def portal_link(
    area: Area, return_url: str | None = None, role: Role = Role.ADMIN, user_id: str = "p1"
) -> str:
    """Return the address to which a product sends its user Pat."""
    made, _ = area.services.credentials.create(
        "product", Actor(PrincipalKind.OPERATOR, "cli", "Command line")
    )
    operator = ActingCredential(made.id, made.kind, made.name)
    user = PortalUser(user_id, "Pat", "pat@keys.example")
    request = PortalRequest(area.workspace_id, user, role, return_url)
    secret, _ = area.services.portal_sessions.create(operator, request)
    return f"/sign-in?link={secret.reveal()}"
