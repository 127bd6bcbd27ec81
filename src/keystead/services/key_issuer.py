"""New keys, for every use case that makes one: a token minted, its row inserted; and the events of keys."""

from __future__ import annotations

from dataclasses import dataclass

from keystead.domain.digest import Peppers
from keystead.domain.errors import NotFound
from keystead.domain.events import Act, EventType, Target
from keystead.domain.ids import KeyId, WorkspaceId, is_id
from keystead.domain.keys import ApiKey, KeyGrant
from keystead.domain.token import Token, mint
from keystead.storage.database import Tx
from keystead.storage.tables import events
from keystead.storage.tables import keys as rows


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A new key. `token` leaves once: it is None if the same request was answered before."""

    key: ApiKey
    token: Token | None


class KeyIssuer:
    """Issues keys under the prefix and the pepper of this installation."""

    def __init__(self, peppers: Peppers, *, prefix: str) -> None:
        self._peppers = peppers
        self._prefix = prefix

    def issue(
        self,
        tx: Tx,
        workspace_id: WorkspaceId,
        granted: KeyGrant,
        act: Act,
        newest: KeyId | None,
        of: ApiKey | None = None,
    ) -> tuple[ApiKey, Token]:
        """Insert a key of the act's actor, or the renewal `of` a key, which keeps that one's creator.

        `newest`: the workspace's newest key, read under its lock.
        """
        token = mint(self._prefix, act.at, newest)
        key = ApiKey(
            id=token.key_id,
            workspace_id=workspace_id,
            description=granted.description,
            hint=token.hint,
            scopes=granted.scopes,
            created_at=act.at,
            created_by=of.created_by if of else act.actor,
            expires_at=granted.expires_at,
            networks=granted.networks,
            metadata=granted.metadata,
            renewal=granted.renewal,
            family=None if of is None else of.family or of.id,
            replaces=None if of is None else of.id,
            stored_in=granted.stored_in,
        )
        rows.insert_key(tx, key, self._peppers.seal(token))
        return key, token


def require_key(tx: Tx, workspace_id: WorkspaceId, key_id: KeyId) -> ApiKey:
    """Return the workspace's key of that id. Raises NotFound."""
    is_key_id = is_id("key", key_id)
    key = rows.find_key(tx, workspace_id, key_id) if is_key_id else None
    return NotFound.unless(key, "key")


def record_key(tx: Tx, type: EventType, key: ApiKey, act: Act, **data: object) -> None:
    """Append an event about a key. `data` follows what all events of keys contain."""
    data = {"description": key.description, "hint": key.hint, **data}
    events.append_event(tx, key.workspace_id, type, act, Target("key", key.id), data)
