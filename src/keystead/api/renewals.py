"""The call with which a key renews itself. Operators have no such call: it is about the calling key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keystead.api.bodies.keys import NewRenewal
from keystead.api.calls import Call
from keystead.api.keys import created_reply
from keystead.api.operations import Operations, Reply
from keystead.domain.errors import AgainstPolicy, NotRenewable, RateLimited, RotationInProgress
from keystead.wire.resources import CreatedKey


def _require_renewable(call: Call, _: Mapping[str, str]) -> int:
    return call.services.renewals.require_renewable(call.principal).version


RENEWALS: Final = Operations("/v1/keys/self", "keys")
_NOTHING: Final = NewRenewal()


@RENEWALS.call(
    "POST",
    "/rotate",
    "Renew the calling key",
    statuses=(201,),
    refusals=(NotRenewable, RotationInProgress, AgainstPolicy, RateLimited),
    idempotent=None,
    has_etag=True,
    find_version=_require_renewable,
)
def renew_key(call: Call, body: NewRenewal = _NOTHING) -> Reply[CreatedKey]:  # noqa: ARG001 - declares it
    """Create the successor of the calling key, which needs no scope but its `renewal`.

    The old key works as before until the successor is first used. It ends an hour after that; an installation may set
    another time. If the answer is lost, call again with the old key: the lost successor is revoked, and you get another
    one. Send no Idempotency-Key.
    """
    return created_reply(call, call.services.renewals.renew(call.principal, call.origin))
