"""Where `keystead keys` works: on this machine's own database, or at a server with a key's token. Both tell shapes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, Protocol

from keystead.cli import shapes
from keystead.cli.key_arguments import expiry_of, scopes_of
from keystead.cli.outcome import Exit, Failure
from keystead.cli.server import connected, server_of
from keystead.cli.shapes import Shape

if TYPE_CHECKING:
    from keystead.cli.options import Where
    from keystead.client import Client
    from keystead.client import CreatedKey as AnsweredKey
    from keystead.domain.principals import Principal
    from keystead.domain.token import Token
    from keystead.services.key_issuer import CreatedKey
    from keystead.services.keys import Keys
    from keystead.services.rotations import Rotations

Status = Literal["active", "expired", "revoked"] | None


class KeyDesk(Protocol):
    """The keys of one workspace."""

    def now(self) -> datetime:
        """What time it is there."""

    def create(
        self, description: str, expires: str | None, scope: tuple[str, ...]
    ) -> tuple[Shape, Token]:
        """A new key and its token. LimitReached."""

    def page(
        self, status: Status, query: str, limit: int, cursor: str | None
    ) -> tuple[list[Shape], str | None, Shape]:
        """Keys, what the next page continues after, and the quota."""

    def get(self, id: str) -> Shape:
        """One key."""

    def after(self, id: str) -> Shape | None:
        """One key after a change; None where one may not see it, or no longer."""

    def update(
        self, id: str, description: str | None, expires: str | None, scope: tuple[str, ...]
    ) -> Shape:
        """One key after that change; what is None or empty stays."""

    def rotate(self, id: str, overlap: timedelta, expires: str | None) -> tuple[Shape, Token]:
        """The successor and its token."""

    def revoke(self, id: str) -> None:
        """Ends the key."""


@contextmanager
def key_desk(where: Where, workspace: str | None) -> Iterator[KeyDesk]:
    """The desk at that place; closed at the end."""
    server = server_of(where)
    if server is None:
        from keystead.cli.installation import acting_on, opened

        with opened(where.place) as installation:
            services = installation.services
            principal = acting_on(services, workspace)
            yield HereKeys(services.keys, services.rotations, principal)
        return
    refuse_workspace(workspace)
    with connected(server) as client:
        yield ThereKeys(client)


def refuse_workspace(workspace: str | None) -> None:
    """A token is of one workspace, and never chooses."""
    if workspace is not None:
        raise Failure(
            "--workspace is for this machine's own installation; a token belongs to one workspace.",
            Exit.USAGE,
        )


class HereKeys:
    """The keys of a workspace in this machine's own database, as the operator."""

    def __init__(self, keys: Keys, rotations: Rotations, principal: Principal) -> None:
        self._keys, self._rotations, self._principal = keys, rotations, principal

    def now(self) -> datetime:
        """The database's."""
        return self._keys.now()

    def create(
        self, description: str, expires: str | None, scope: tuple[str, ...]
    ) -> tuple[Shape, Token]:
        """As KeyDesk."""
        from keystead.domain.keys import KeyDraft

        end = expiry_of(expires, self.now())
        draft = KeyDraft(description, end, scopes_of(scope, self._keys.catalog))
        return self._made(self._keys.create(self._principal, draft))

    def page(
        self, status: Status, query: str, limit: int, cursor: str | None
    ) -> tuple[list[Shape], str | None, Shape]:
        """As KeyDesk."""
        from keystead.domain.ids import KeyId
        from keystead.domain.keys import KeyStatus

        found = self._keys.list(
            self._principal,
            status=None if status is None else KeyStatus(status),
            query=query,
            limit=limit,
            before=None if cursor is None else KeyId(cursor),
        )
        now = self.now()
        return [shapes.key(key, now) for key in found.items], found.next, shapes.quota(found.quota)

    def get(self, id: str) -> Shape:
        """As KeyDesk."""
        from keystead.domain.ids import KeyId

        return shapes.key(self._keys.get(self._principal, KeyId(id)), self.now())

    def after(self, id: str) -> Shape | None:
        """As KeyDesk; always there."""
        return self.get(id)

    def update(
        self, id: str, description: str | None, expires: str | None, scope: tuple[str, ...]
    ) -> Shape:
        """As KeyDesk."""
        from keystead.domain.ids import KeyId
        from keystead.domain.keys import UNSET, KeyPatch

        end, named = expiry_of(expires, self.now()), UNSET if description is None else description
        patch = KeyPatch(named, end, scopes_of(scope, self._keys.catalog))
        return shapes.key(self._keys.update(self._principal, KeyId(id), patch), self.now())

    def rotate(self, id: str, overlap: timedelta, expires: str | None) -> tuple[Shape, Token]:
        """As KeyDesk."""
        from keystead.domain.ids import KeyId

        end = expiry_of(expires, self.now())
        made = self._rotations.rotate(self._principal, KeyId(id), overlap=overlap, expires_at=end)
        return self._made(made)

    def revoke(self, id: str) -> None:
        """As KeyDesk."""
        from keystead.domain.ids import KeyId

        self._keys.revoke(self._principal, KeyId(id))

    def _made(self, created: CreatedKey) -> tuple[Shape, Token]:
        if created.token is None:
            raise Failure("The token was handed over before; rotate the key for another.")
        return shapes.key(created.key, self.now()), created.token


class ThereKeys:
    """The keys of the workspace of a token, at a server."""

    def __init__(self, client: Client) -> None:
        self._keys = client.keys

    def now(self) -> datetime:
        """This machine's."""
        return datetime.now(UTC)

    def create(
        self, description: str, expires: str | None, scope: tuple[str, ...]
    ) -> tuple[Shape, Token]:
        """As KeyDesk."""
        from keystead.client import UNSET, LimitReached
        from keystead.domain import errors

        end = expiry_of(expires, self.now())
        try:
            created = self._keys.create(description, scopes=scope or UNSET, expires_at=end)
        except LimitReached as full:
            raise errors.LimitReached(
                "active API keys",
                limit=full.limit,
                used=full.used,
                plan=full.plan,
                candidates=full.candidates,
                plans_url=full.plans_url,
                detail=full.detail,
            ) from None
        return _made(created)

    def page(
        self, status: Status, query: str, limit: int, cursor: str | None
    ) -> tuple[list[Shape], str | None, Shape]:
        """As KeyDesk."""
        found = self._keys.page(status=status, query=query, limit=limit, cursor=cursor)
        told = [shapes.answered(key) for key in found.items]
        return told, found.next_cursor, shapes.answered(found.quota)

    def get(self, id: str) -> Shape:
        """As KeyDesk."""
        told: Shape = shapes.answered(self._keys.get(id))
        return told

    def after(self, id: str) -> Shape | None:
        """As KeyDesk: without `keys:read`, and after the end of one's own key, there is nothing to see."""
        from keystead.client import InsufficientScope, InvalidToken

        try:
            return self.get(id)
        except (InsufficientScope, InvalidToken):
            return None

    def update(
        self, id: str, description: str | None, expires: str | None, scope: tuple[str, ...]
    ) -> Shape:
        """As KeyDesk."""
        from keystead.client import UNSET

        named = UNSET if description is None else description
        end = expiry_of(expires, self.now())
        told: Shape = shapes.answered(
            self._keys.update(id, description=named, scopes=scope or UNSET, expires_at=end)
        )
        return told

    def rotate(self, id: str, overlap: timedelta, expires: str | None) -> tuple[Shape, Token]:
        """As KeyDesk."""
        end = expiry_of(expires, self.now())
        return _made(self._keys.rotate(id, overlap=overlap, expires_at=end))

    def revoke(self, id: str) -> None:
        """As KeyDesk."""
        self._keys.revoke(id)


def _made(created: AnsweredKey) -> tuple[Shape, Token]:
    told: Shape = shapes.answered(created)
    token: Token = told.pop("token")
    return told, token
