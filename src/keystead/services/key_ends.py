"""The ends of keys, for every use case that revokes one: the row, its event, and the keys that hang on it."""

from __future__ import annotations

from dataclasses import replace

from keystead.domain.events import Act, EventType
from keystead.domain.keys import ApiKey
from keystead.services.key_issuer import record_key
from keystead.storage.database import Tx
from keystead.storage.tables import keys as rows


def end_key(tx: Tx, key: ApiKey, act: Act, **data: object) -> ApiKey:
    """Revoke a key and what hangs on it, with their events. Returns it revoked; unchanged if it was revoked before."""
    if not rows.revoke_key(tx, key.workspace_id, key.id, act.at):
        return key
    revoked = replace(key, revoked_at=act.at)
    record_key(tx, EventType.KEY_REVOKED, revoked, act, **data)
    end_dependents(tx, revoked, act)
    return revoked


def end_dependents(tx: Tx, key: ApiKey, act: Act) -> None:
    """Do what follows from the end of a key: its renewal, if it is one or made one, has not happened.

    A successor that was never used ends with the key that made it: anyone who took the answer could use it for years.
    And a key whose unused successor ends counts again toward the limit, and may renew itself again.
    """
    if key.replaces is not None:
        rows.forget_successor(tx, key.workspace_id, key.replaces, key.id)
    end_unused_successor(tx, key, act)


def end_unused_successor(tx: Tx, key: ApiKey, act: Act) -> None:
    """Revoke the key's successor if it renewed itself and the successor was never used."""
    if key.rotated_to is not None:
        successor = rows.find_key(tx, key.workspace_id, key.rotated_to)
        if successor is not None and successor.replaces == key.id:
            end_key(tx, successor, act, reason="predecessor")
