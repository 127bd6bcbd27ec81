"""Known devices, found by the SHA-256 of the browser's secret."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, select, update

from keystead.domain.ids import UserId
from keystead.domain.sessions import MAX_DEVICES, KnownDevice
from keystead.storage.database import Tx
from keystead.storage.schema.tables import known_devices


def insert_device(tx: Tx, digest: bytes, device: KnownDevice) -> None:
    """Insert a device. Deletes the user's least recently used ones beyond ten."""
    row = {
        "digest": digest,
        "user_id": device.user_id,
        "created_at": device.created_at,
        "used_at": device.used_at,
    }
    tx.execute(insert(known_devices), row)
    of_user = select(known_devices.c.digest).where(known_devices.c.user_id == device.user_id)
    newest = of_user.order_by(known_devices.c.used_at.desc(), known_devices.c.digest)
    kept = set(tx.execute(newest.limit(MAX_DEVICES)).scalars()) | {digest}
    tx.execute(
        delete(known_devices).where(
            known_devices.c.user_id == device.user_id, known_devices.c.digest.not_in(kept)
        )
    )


def find_device(tx: Tx, digest: bytes) -> KnownDevice | None:
    """Return the device, expired or not."""
    row = tx.execute(select(known_devices).where(known_devices.c.digest == digest)).first()
    return None if row is None else KnownDevice(row.user_id, row.created_at, row.used_at)


def touch_device(tx: Tx, digest: bytes, now: datetime) -> None:
    """Record that the user signed in on the device again."""
    used = update(known_devices).where(known_devices.c.digest == digest)
    tx.execute(used.values(used_at=now))


def delete_devices(tx: Tx, user_id: UserId) -> None:
    """Delete all devices of a user."""
    tx.execute(delete(known_devices).where(known_devices.c.user_id == user_id))
