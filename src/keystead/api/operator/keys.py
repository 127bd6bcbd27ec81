"""Calls of the Operator API for keys: those of a workspace, with the handlers of `/v1`, and whose a token is."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from keystead.api.bodies.credentials import KeyLookup
from keystead.api.calls import KEY_ROOT, OperatorCall
from keystead.api.keys import KEYS
from keystead.api.operations import OPERATOR, WITHIN, WORKSPACE, Operation, Operations, Reply
from keystead.domain.errors import InsufficientScope, NotFound, RateLimited
from keystead.wire.operator import KeyOwner, ManagedWorkspace
from keystead.wire.resources import Key

_NOUN: Final = re.compile("(?=[A-Z])")


def for_operators(operation: Operation, tag: str) -> Operation:
    """Return a key's operation as an operator calls it: within the workspace that the path names, without scopes."""
    return replace(
        operation,
        path=operation.path.replace(KEY_ROOT, WITHIN, 1),
        name=_NOUN.sub("Workspace", operation.name, count=1),
        tag=tag,
        security=OPERATOR,
        scopes=(),
        refusals=tuple(each for each in operation.refusals if each is not InsufficientScope),
        path_parameters=(WORKSPACE, *operation.path_parameters),
    )


WORKSPACE_KEYS: Final = tuple(
    for_operators(operation, "workspace keys")
    for operation in KEYS
    if "/self/" not in operation.path
)
"""Each call of keys but a key's own, so that an operator meets the same bodies, rules, codes and idempotency."""


LOOKUPS: Final = Operations("/operator/v1/keys/lookup", "workspace keys", OPERATOR)


@LOOKUPS.call("POST", "", "Look up a token", refusals=(NotFound, RateLimited))
def get_key_owner(call: OperatorCall, body: KeyLookup) -> Reply[KeyOwner]:
    """Return the key of a token and its workspace, also if the key has ended or the workspace is suspended.

    `not-found` for every other text. It counts neither as a use of the key nor as a refusal, and is possible 60 times
    a minute with one credential. To check tokens, introspect them.
    """
    workspace, key = call.services.key_owners.look_up(call.credential, body.token)
    now = call.services.keys.now()
    return Reply(KeyOwner(workspace=ManagedWorkspace.of(workspace), key=Key.of(key, now)))
