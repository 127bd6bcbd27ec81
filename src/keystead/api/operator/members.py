"""Calls of the Operator API for the people of a workspace: list, put, change the role, remove."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keystead.api.bodies.people import MemberChange, PutMember
from keystead.api.calls import Call, page_of
from keystead.api.operations import (
    OPERATOR,
    PAGED,
    WITHIN,
    WORKSPACE,
    Operations,
    Reply,
    in_path,
)
from keystead.domain.errors import InvalidCursor, LimitReached
from keystead.domain.ids import UserId
from keystead.domain.portal import MAX_USER_ID, PortalUser
from keystead.domain.versions import require_match
from keystead.domain.workspaces import Role
from keystead.wire.operator import ManagedMember, ManagedMemberList


def _version(call: Call, path: Mapping[str, str]) -> int:
    return call.services.members.get(call.principal, UserId(path["id"])).version


def _put_version(call: Call, path: Mapping[str, str]) -> int | None:
    """Return the version of a member that PUT may also create."""
    member = call.services.members.of_product(call.principal, path["user"])
    return None if member is None else member.version


MEMBERS: Final = Operations(
    f"{WITHIN}/members",
    "members",
    OPERATOR,
    path_parameters=(
        WORKSPACE,
        in_path("id", "The user's id.", "usr_02tcRIyrxLXTR81B3dqdOx"),
        in_path(
            "user",
            "The product's own id of the user, as in portal sessions; percent-encoded.",
            "user-4711",
            {"minLength": 1, "maxLength": MAX_USER_ID},
        ),
    ),
)


@MEMBERS.call("GET", "", "List members", refusals=(InvalidCursor,), query=PAGED)
def list_members(
    call: Call, limit: str | None = None, cursor: str | None = None
) -> Reply[ManagedMemberList]:
    """Return the workspace's members, newest first: users of the product, and people with an account here."""
    page = page_of(call, str, limit, cursor)
    after = None if page.after is None else UserId(page.after)
    rows = call.services.members.list(
        call.principal, limit=page.limit, after=after, newest_first=True
    )
    items = list(map(ManagedMember.of, rows.items))
    return Reply(ManagedMemberList(items=items, next_cursor=page.next_cursor(rows.next)))


@MEMBERS.call(
    "PUT",
    "/by-external-id/{user}",
    "Put a user of the product",
    statuses=(200, 201),
    refusals=(LimitReached,),
    if_match=True,
    has_etag=True,
    is_located=False,
    find_version=_put_version,
)
def put_member(call: Call, user: str, body: PutMember) -> Reply[ManagedMember]:
    """Make a user of the product a member, or set their name, email and role. Repeating the call changes nothing.

    They sign in by portal sessions with the same id.
    """
    wanted = PortalUser(user, body.name, body.email)
    member, is_new = call.services.members.put(
        call.principal, wanted, Role(body.role), call.origin, call.if_match
    )
    return Reply(ManagedMember.of(member), member.version, status=201 if is_new else 200)


@MEMBERS.call(
    "PATCH",
    "/{id}",
    "Update a member",
    if_match=True,
    has_etag=True,
    find_version=_version,
)
def update_member(call: Call, id: str, body: MemberChange) -> Reply[ManagedMember]:
    """Change the member's role, from their next request on. The last owner may get another role too."""
    members, user_id = call.services.members, UserId(id)
    if body.model_fields_set:
        role = Role(body.role)
        member = members.change_role(call.principal, user_id, role, call.origin, call.if_match)
    else:
        member = members.get(call.principal, user_id)
        require_match(call.if_match, member.version)
    return Reply(ManagedMember.of(member), member.version)


@MEMBERS.call(
    "DELETE",
    "/{id}",
    "Remove a member",
    statuses=(204,),
    if_match=True,
    revokes=True,
    find_version=_version,
)
def delete_member(call: Call, id: str) -> Reply[None]:
    """End the membership immediately, with its sessions and sign-in links. The keys that the member created stay."""
    call.services.members.remove(call.principal, UserId(id), call.origin, call.if_match)
    return Reply(None)
