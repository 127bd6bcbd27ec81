"""The rows that verification reads: a key, its details, a credential, each by its id.

The tables that these queries name are those whose changes invalidate cached verifications: see `freshness.write_watch`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, Final, Generic, NamedTuple, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ScalarSelect,
    Select,
    Text,
    any_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.dialects import postgresql

from keystead.domain.credentials import CredentialRecord
from keystead.domain.verification import KeyRecord
from keystead.storage.schema.tables import api_keys, credentials, workspaces

Record = TypeVar("Record", bound=tuple[Any, ...])


@dataclass(frozen=True, slots=True, eq=False)
class ById(Generic[Record]):
    """A query for single rows by id. Its columns are the record's fields, with values as the driver returns them."""

    record: type[Record]
    rows: Select[Any]
    id: ColumnElement[str]

    @property
    def one(self) -> Select[Any]:
        """The query for the row of the parameter `id`."""
        return self.rows.where(self.id == bindparam("id"))

    @property
    def many(self) -> Select[Any]:
        """The query for the rows of several ids, PostgreSQL's array `ids`; a row's id follows its record."""
        ids = bindparam("ids", type_=postgresql.ARRAY(self.id.type))
        return self.rows.add_columns(self.id).where(self.id == any_(ids))


class KeyDetails(NamedTuple):
    """A key's time of creation (microseconds since 1970), and its workspace's name and plan."""

    created_at: int
    workspace_name: str
    plan_id: str


def _suspended_at() -> ScalarSelect[Any]:
    """Return the time of suspension of the key's workspace, read from the index of suspended workspaces.

    The index has one page or none; the workspace's row would be a second descent. SQLite prefers the primary key
    unless the query names the index.
    """
    query = select(workspaces.c.suspended_at).with_hint(
        workspaces, "INDEXED BY workspaces_suspended", "sqlite"
    )
    suspended = (workspaces.c.id == api_keys.c.workspace_id, workspaces.c.suspended_at.is_not(None))
    return query.where(*suspended).scalar_subquery()


def _extras() -> ColumnElement[str | None]:
    """Return what few keys have, as one text of four lines, or null: each further column costs all keys some time."""
    line = literal_column("'\n'", Text)
    lines = (
        type_coerce(api_keys.c.networks, Text),
        type_coerce(api_keys.c.metadata, Text),
        func.coalesce(
            cast(type_coerce(api_keys.c.renewable_until, BigInteger), Text), literal_column("''")
        ),
        func.coalesce(api_keys.c.replaces, literal_column("''")),
    )
    text = reduce(lambda before, next_line: before.concat(line).concat(next_line), lines)
    return case((api_keys.c.has_extras == literal_column("1"), text))


KEY: Final = ById(
    KeyRecord,
    select(
        api_keys.c.workspace_id,
        api_keys.c.description,
        api_keys.c.pepper_id,
        api_keys.c.digest,
        api_keys.c.scopes,
        api_keys.c.expires_at,
        api_keys.c.revoked_at,
        _extras().label("extras"),
        _suspended_at().label("suspended_at"),
    ),
    api_keys.c.id,
)
KEY_DETAILS: Final = ById(
    KeyDetails,
    select(
        api_keys.c.created_at,
        workspaces.c.name.label("workspace_name"),
        workspaces.c.plan_id,
    ).join(workspaces, workspaces.c.id == api_keys.c.workspace_id),
    api_keys.c.id,
)
CREDENTIAL: Final = ById(
    CredentialRecord,
    select(
        credentials.c.id,
        credentials.c.name,
        credentials.c.pepper_id,
        credentials.c.digest,
        credentials.c.revoked_at,
    ),
    credentials.c.id,
)
