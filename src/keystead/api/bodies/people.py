"""The bodies of calls about members and portal sessions."""

from __future__ import annotations

from typing import Annotated, Literal

from keystead.api.bodies.body import Body, display_name
from keystead.domain.ids import WorkspaceId
from keystead.domain.portal import MAX_URL, MAX_USER_ID, PortalRequest, PortalUser
from keystead.domain.workspaces import Role
from keystead.wire.schema import member

_Role = Literal["owner", "admin", "developer", "viewer"]


class PutMember(Body):
    """A user of the product as a member."""

    name: Annotated[str, display_name("The name to display.", "Ada")]
    email: Annotated[
        str | None,
        member(
            "The address to display and to send notices to, not to sign in with. Omitted or null: none.",
            "ada@example.com",
        ),
    ] = None
    role: Annotated[_Role, member("The role. Only here the product can make an owner.")]


class MemberChange(Body):
    """Changes to a member. Omitted members stay as they are."""

    role: Annotated[_Role, member("The role.")] = "viewer"


class NewPortalUser(Body):
    """A user of the product."""

    id: Annotated[
        str,
        member(
            "The product's own id for the user.", "user-4711", minLength=1, maxLength=MAX_USER_ID
        ),
    ]
    name: Annotated[str, display_name("The name to display.", "Ada")]
    email: Annotated[
        str | None, member("The address to display, not to sign in with. Omitted or null: none.")
    ] = None


class NewPortalSession(Body):
    """A user that the product vouches for, with a workspace and a role."""

    workspace_id: Annotated[str, member("The user's workspace.", "ws_02tcRIyrxLXTR81B3dqdOx")]
    user: Annotated[NewPortalUser, member("The user, as the product knows them.")]
    role: Annotated[
        Literal["admin", "developer", "viewer"],
        member("The user's role. Only an owner can make another owner."),
    ]
    return_url: Annotated[
        str | None,
        member(
            "The page to return to, also to prove the user's identity again. Its origin must be one of the"
            " configured origins. Omitted or null: no page.",
            "https://app.example.com/settings",
            maxLength=MAX_URL,
        ),
    ] = None

    def request(self) -> PortalRequest:
        """Return the domain's value."""
        user = PortalUser(self.user.id, self.user.name, self.user.email)
        workspace_id = WorkspaceId(self.workspace_id)
        return PortalRequest(workspace_id, user, Role(self.role), self.return_url)
