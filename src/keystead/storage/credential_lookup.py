"""What is read of a credential that calls, as committed at the time of the call; its management is in `credentials`."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select

from keystead.domain.credentials import CredentialRecord
from keystead.domain.ids import CredentialId
from keystead.storage.point_reads.by_id import ById, Readings
from keystead.storage.schema.tables import credentials

CREDENTIAL: Final = ById(
    select(
        credentials.c.id,
        credentials.c.name,
        credentials.c.pepper_id,
        credentials.c.digest,
        credentials.c.revoked_at,
    ),
    credentials.c.id,
)
"""Its columns are CredentialRecord's fields, in order."""


class CredentialLookup:
    """Reads the row of one credential by its primary key."""

    def __init__(self, readings: Readings) -> None:
        self._read = readings.of(CREDENTIAL)

    async def find_on_loop(self, credential_id: CredentialId) -> CredentialRecord | None:
        """The record, or None. Unavailable where the database does not answer."""
        row = await self._read(credential_id)
        return None if row is None else CredentialRecord._make(row)
