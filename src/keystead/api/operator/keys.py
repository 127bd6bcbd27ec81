"""Calls of the Operator API for the keys of a workspace: the same handlers as under `/v1`, with another caller."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from keystead.api.calls import KEY_ROOT
from keystead.api.keys import KEYS
from keystead.api.operations import OPERATOR, WITHIN, WORKSPACE, Operation
from keystead.domain.errors import InsufficientScope

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
