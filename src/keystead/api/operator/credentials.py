"""Calls of the Operator API for the credentials of the product's own services and operators."""

from __future__ import annotations

from typing import Final

from keystead.api.bodies.credentials import NewCredential
from keystead.api.calls import OperatorCall
from keystead.api.operations import OPERATOR, PAGED, Operations, Reply, in_path, in_query
from keystead.domain.credentials import CredentialKind
from keystead.domain.errors import InvalidCursor
from keystead.domain.ids import CredentialId
from keystead.http.paging import read_page
from keystead.wire.operator import CreatedCredential, Credential, CredentialList

CREDENTIALS: Final = Operations(
    "/operator/v1/credentials",
    "credentials",
    OPERATOR,
    path_parameters=(in_path("id", "The credential's id.", "op_02tcRIyrxLXTR81B3dqdOx"),),
)


@CREDENTIALS.call("POST", "", "Create a credential", statuses=(201,), is_located=False)
def create_credential(call: OperatorCall, body: NewCredential) -> Reply[CreatedCredential]:
    """Create a credential. This response is the only one that contains its token: store it immediately."""
    credential, token = call.services.credentials.create(
        body.name, call.credential.actor, CredentialKind[body.kind.upper()], call.origin
    )
    return Reply(CreatedCredential.of(credential, token=token.reveal()))


@CREDENTIALS.call("GET", "", "List credentials", refusals=(InvalidCursor,), query=PAGED)
def list_credentials(
    call: OperatorCall, limit: str | None = None, cursor: str | None = None
) -> Reply[CredentialList]:
    """Return the credentials of services and operators, newest first, revoked ones included."""
    page = read_page(str, workspace_id="", path=call.path, limit=limit, cursor=cursor)
    rows = call.services.credentials.page(limit=page.limit, before=page.after)
    items = list(map(Credential.of, rows.items))
    return Reply(CredentialList(items=items, next_cursor=page.next_cursor(rows.next)))


@CREDENTIALS.call(
    "DELETE",
    "/{id}",
    "Revoke a credential",
    statuses=(204,),
    query=(
        in_query(
            "created",
            "`true`: also revoke the credentials that it created, and that these created.",
            bool,
        ),
    ),
    revokes=True,
)
def revoke_credential(call: OperatorCall, id: str, created: bool = False) -> Reply[None]:
    """Revoke the credential immediately. This can't be undone. Repeating the call returns the same response.

    A credential may revoke itself. Revoke a leaked one with `created=true`: it may have created others.
    """
    actor, origin = call.credential.actor, call.origin
    call.services.credentials.revoke(CredentialId(id), actor, origin, created=created)
    return Reply(None)
