"""Whose key a token is, for the product's support: neither a use of the key nor a refusal."""

from __future__ import annotations

from functools import partial
from typing import Final

from keystead.domain.credentials import ActingCredential
from keystead.domain.digest import Peppers
from keystead.domain.errors import NotFound
from keystead.domain.ids import WorkspaceId
from keystead.domain.keys import ApiKey
from keystead.domain.throttle import LOOKUP, lookup_subject
from keystead.domain.token import Token, parse
from keystead.domain.verification import KeyRecord
from keystead.domain.workspaces import Workspace
from keystead.services.keys import Keys
from keystead.services.throttle import Throttle
from keystead.services.verifier import require_pepper
from keystead.services.workspaces import Workspaces
from keystead.storage.engine.waits import off_loop
from keystead.storage.point_reads.by_id import Lookup

_NO_KEY: Final = "There is no such key."


class KeyOwners:
    """Finds the key of a token, whatever became of it. Only the whole token will do."""

    def __init__(
        self,
        lookup: Lookup[KeyRecord],
        peppers: Peppers,
        keys: Keys,
        workspaces: Workspaces,
        throttle: Throttle,
    ) -> None:
        self._lookup = lookup
        self._peppers = peppers
        self._keys = keys
        self._workspaces = workspaces
        self._throttle = throttle

    def look_up(self, operator: ActingCredential, text: str) -> tuple[Workspace, ApiKey]:
        """Return the workspace and the key of that token.

        Raises:
            NotFound: It is any other text, or the token of a deleted workspace: always the same answer.
            RateLimited: This credential asks too often.
            Unavailable: The database doesn't answer, or this server lacks the pepper of the key.
        """
        self._throttle.require_rate(lookup_subject(operator.id), LOOKUP, "look-ups of a credential")
        token = parse(text)
        record = None if token is None else self._record_of(token)
        if token is None or record is None:
            raise NotFound(_NO_KEY)
        workspace_id = WorkspaceId(record.workspace_id)
        try:
            workspace = self._workspaces.get(workspace_id)
            return workspace, self._keys.require(operator.within(workspace_id), token.key_id)
        except NotFound:
            raise NotFound(_NO_KEY) from None

    def _record_of(self, token: Token) -> KeyRecord | None:
        record = off_loop(partial(self._lookup.find, token.key_id))
        if record is None or self._peppers.match(token, record.pepper_id, record.digest):
            return record
        require_pepper(self._peppers, record.pepper_id)
        return None
