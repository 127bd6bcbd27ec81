"""Contexts of the pages about people: signing in, one's account, members, invitations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from keystead.developer_area.web.contexts import Choice, Difference, Frame, Link, Moment, QuotaLine


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A browser in which the person is signed in. `agent` is what it calls itself, `name` the same in words."""

    name: str
    agent: str
    address: str
    way: str
    current: bool
    began: Moment
    seen: Moment
    end_url: str


@dataclass(frozen=True, slots=True)
class ZoneGroup:
    """The time zones of one part of the world."""

    name: str
    zones: Sequence[Choice]


@dataclass(frozen=True, slots=True)
class AccountPage:
    """A person's own page. `of_portal`: the product vouches for them, and their name and email are its own.

    `confirmation`: a sentence about an email that isn't confirmed yet.
    """

    template: ClassVar[str] = "account.html"
    frame: Frame
    message: str
    url: str
    notices_url: str
    of_portal: bool
    name: str
    email: str
    confirmation: str
    password_set: Moment | None
    zone_groups: Sequence[ZoneGroup]
    clock: str
    sessions: Sequence[SessionRow]
    problems: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PasswordPage:
    """The form for a password. `has_one`: it replaces one; `asks_current`: which has to be given too."""

    template: ClassVar[str] = "password.html"
    frame: Frame
    url: str
    account_url: str
    email: str
    has_one: bool
    asks_current: bool
    min_length: int
    problems: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member as the list shows them; addresses of acts only for who may do them."""

    id: str
    name: str
    email: str
    role: str
    is_self: bool
    of_portal: bool
    joined: Moment | None
    role_url: str | None
    remove_url: str | None


@dataclass(frozen=True, slots=True)
class RightRow:
    """What people may do, whether they may in each role, and which acts of it ask for a recent sign-in."""

    words: str
    allowed: Sequence[bool]
    asks_again: Sequence[str]


@dataclass(frozen=True, slots=True)
class MembersPage:
    """The people of a workspace, and what each role may do."""

    template: ClassVar[str] = "members.html"
    frame: Frame
    message: str
    tabs: Sequence[Link]
    quota: QuotaLine
    plan_url: str
    may_manage: bool
    invite_url: str
    name_url: str | None
    leave_url: str
    rows: Sequence[MemberRow]
    next_url: str | None
    first_url: str | None
    roles: Sequence[str]
    rights: Sequence[RightRow]


@dataclass(frozen=True, slots=True)
class RolePage:
    """The form for another role. `differences`: those from the current version, if the form is older."""

    template: ClassVar[str] = "member_role.html"
    frame: Frame
    name: str
    url: str
    members_url: str
    roles: Sequence[Choice]
    version: int
    differences: Sequence[Difference] | None
    problem: str


@dataclass(frozen=True, slots=True)
class EndMembershipPage:
    """The question before somebody is removed, or leaves (`is_self`)."""

    template: ClassVar[str] = "end_membership.html"
    frame: Frame
    name: str
    is_self: bool
    workspace: str
    url: str
    keys_url: str
    members_url: str
    problem: str


@dataclass(frozen=True, slots=True)
class WorkspaceNamePage:
    """The form for the workspace's name. `differences`: as of the form for a role."""

    template: ClassVar[str] = "workspace_name.html"
    frame: Frame
    name: str
    version: int
    differences: Sequence[Difference] | None
    url: str
    members_url: str
    problem: str


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """An invitation as the list shows it. `status` is `open`, `accepted`, `revoked` or `expired`."""

    id: str
    email: str
    role: str
    status: str
    by: str
    created: Moment
    expires: Moment
    revoke_url: str | None


@dataclass(frozen=True, slots=True)
class InvitationsPage:
    """The invitations of a workspace, newest first."""

    template: ClassVar[str] = "invitations.html"
    frame: Frame
    message: str
    tabs: Sequence[Link]
    invite_url: str
    rows: Sequence[InvitationRow]
    next_url: str | None
    first_url: str | None


@dataclass(frozen=True, slots=True)
class InvitePage:
    """The form for an invitation. `full`: the plan has no room for another member now."""

    template: ClassVar[str] = "invite.html"
    frame: Frame
    url: str
    members_url: str
    full: bool
    email: str
    roles: Sequence[Choice]
    problems: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class InvitedPage:
    """The one page that shows an invitation's link."""

    template: ClassVar[str] = "invited.html"
    frame: Frame
    email: str
    role: str
    link: str
    expires: Moment
    invitations_url: str


@dataclass(frozen=True, slots=True)
class RevokeInvitationPage:
    """The question before an invitation is revoked."""

    template: ClassVar[str] = "revoke_invitation.html"
    frame: Frame
    email: str
    role: str
    url: str
    invitations_url: str


@dataclass(frozen=True, slots=True)
class InvitationPage:
    """Where an invitation's link leads. `person`: who is signed in and may join; else somebody new."""

    template: ClassVar[str] = "invitation.html"
    form_token: str
    link: str
    workspace: str
    role: str
    by: str
    email: str
    expires: Moment
    person: str
    name: str
    min_length: int
    sign_in_url: str
    problems: Mapping[str, str]
