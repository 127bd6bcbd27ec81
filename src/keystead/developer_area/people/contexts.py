"""Contexts of the pages of the account, members and invitations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from keystead.developer_area.keys.contexts import KeyFormPage, LimitNotice
from keystead.developer_area.web.contexts import (
    Choice,
    ChoiceGroup,
    Difference,
    FramedPage,
    Link,
    Pager,
    QuotaLine,
    Timestamp,
)


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session for display. `name` is the browser's name, from `agent`."""

    name: str
    agent: str
    address: str
    method: str
    current: bool
    began: Timestamp
    seen: Timestamp
    end_url: str


@dataclass(frozen=True, slots=True)
class AccountPage(FramedPage):
    """The user's own account. `of_portal`: the product manages their name and email.

    `confirmation`: a sentence about an email that isn't confirmed yet.
    """

    template: ClassVar[str] = "account.html"
    url: str
    of_portal: bool
    name: str
    email: str
    confirmation: str
    password_set: Timestamp | None
    zone_groups: Sequence[ChoiceGroup]
    clock: str
    sessions: Sequence[SessionRow]
    problems: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NotificationsPage(FramedPage):
    """The member's notification preferences. `email` is empty without one."""

    template: ClassVar[str] = "notifications.html"
    url: str
    email: str
    confirmed: bool
    topics: Sequence[Choice]


@dataclass(frozen=True, slots=True)
class PasswordPage(FramedPage):
    """The form of a password. `has_password`: it replaces one, which `asks_current` requires too."""

    template: ClassVar[str] = "password.html"
    url: str
    email: str
    has_password: bool
    asks_current: bool
    min_length: int
    problems: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member for display. Action URLs are None without permission."""

    id: str
    name: str
    email: str
    role: str
    is_self: bool
    of_portal: bool
    joined: Timestamp | None
    role_url: str | None
    remove_url: str | None


@dataclass(frozen=True, slots=True)
class PermissionRow:
    """A permission, whether each role has it, and its actions that require a recent sign-in."""

    words: str
    allowed: Sequence[bool]
    asks_again: Sequence[str]


@dataclass(frozen=True, slots=True)
class MembersPage(FramedPage):
    """The members of a workspace and the permissions of each role."""

    template: ClassVar[str] = "members.html"
    tabs: Sequence[Link]
    quota: QuotaLine
    may_manage: bool
    invite_url: str
    name_url: str | None
    leave_url: str
    rows: Sequence[MemberRow]
    pages: Pager
    roles: Sequence[str]
    rights: Sequence[PermissionRow]


@dataclass(frozen=True, slots=True)
class RolePage(FramedPage):
    """The form of a member's role. `differences`: what changed since an outdated form was rendered."""

    template: ClassVar[str] = "member_role.html"
    name: str
    url: str
    roles: Sequence[Choice]
    version: int
    differences: Sequence[Difference] | None
    problem: str


@dataclass(frozen=True, slots=True)
class EndMembershipPage(FramedPage):
    """The question before a member is removed or leaves (`is_self`)."""

    template: ClassVar[str] = "end_membership.html"
    name: str
    is_self: bool
    workspace: str
    url: str
    problem: str


@dataclass(frozen=True, slots=True)
class WorkspaceNamePage(FramedPage):
    """The form of the workspace's name. `differences`: what changed since an outdated form was rendered."""

    template: ClassVar[str] = "workspace_name.html"
    name: str
    version: int
    differences: Sequence[Difference] | None
    url: str
    problem: str


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """An invitation for display. `status` is `open`, `accepted`, `revoked` or `expired`."""

    id: str
    email: str
    role: str
    status: str
    by: str
    created: Timestamp
    expires: Timestamp
    revoke_url: str | None


@dataclass(frozen=True, slots=True)
class InvitationsPage(FramedPage):
    """The invitations of a workspace, newest first."""

    template: ClassVar[str] = "invitations.html"
    tabs: Sequence[Link]
    invite_url: str
    rows: Sequence[InvitationRow]
    pages: Pager


@dataclass(frozen=True, slots=True)
class InvitePage(FramedPage):
    """The form of an invitation. `full`: the plan has no room for another member."""

    template: ClassVar[str] = "invite.html"
    url: str
    full: bool
    email: str
    roles: Sequence[Choice]
    problems: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class InvitedPage(FramedPage):
    """The only page that shows an invitation's link."""

    template: ClassVar[str] = "invited.html"
    email: str
    role: str
    link: str
    expires: Timestamp


@dataclass(frozen=True, slots=True)
class InvitationPage:
    """The page behind an invitation's link. `person` is the signed-in user who may join, else empty."""

    template: ClassVar[str] = "invitation.html"
    form_token: str
    link: str
    workspace: str
    role: str
    by: str
    email: str
    expires: Timestamp
    person: str
    name: str
    min_length: int
    sign_in_url: str
    problems: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DeviceCodePage:
    """The form for the code that a terminal shows. `workspaces`: the choice, if the user has several."""

    template: ClassVar[str] = "device_code.html"
    form_token: str
    person: str
    user_code: str
    workspaces: Sequence[Choice]
    problem: str


@dataclass(frozen=True, slots=True)
class ApproveDevicePage(KeyFormPage):
    """The question whether a terminal gets a key, and which one.

    `host`, `agent`, `asked_description` and `asked_scopes` are the terminal's own words, empty if it sent none.
    `is_same_address`: the request came from the address that the person uses now.
    """

    template: ClassVar[str] = "approve_device.html"
    url: str
    user_code: str
    host: str
    agent: str
    address: str
    is_same_address: bool
    started: Timestamp
    asked_description: str
    asked_scopes: Sequence[str]
    limit: LimitNotice | None
