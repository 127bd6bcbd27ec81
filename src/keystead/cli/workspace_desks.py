"""Where `keystead workspaces` works: on this machine's database, or at a server as an operator. Both tell shapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from keystead.cli import shapes
from keystead.cli.installation import actor
from keystead.cli.server import operating, server_of
from keystead.cli.shapes import Shape

if TYPE_CHECKING:
    from keystead.cli.options import Where
    from keystead.client import ManagedWorkspace, Operator
    from keystead.domain.ids import WorkspaceId
    from keystead.services import Services

Overrides = Mapping[str, int | None]


class WorkspaceDesk(Protocol):
    """The tenants of one installation; `which` is an id or a name."""

    def create(self, name: str, plan: str | None, owner: str | None, email: str | None) -> Shape:
        """A new workspace."""

    def page(self, query: str, limit: int, cursor: str | None) -> tuple[list[Shape], str | None]:
        """Workspaces, and what the next page continues after."""

    def get(self, which: str) -> Shape:
        """One workspace with its use."""

    def suspend(self, which: str) -> Shape:
        """Refuses its keys."""

    def resume(self, which: str) -> Shape:
        """Lets its keys work again."""

    def put_on_plan(self, which: str, plan: str, overrides: Overrides) -> Shape:
        """The workspace with its use, on that plan."""


@contextmanager
def workspace_desk(where: Where) -> Iterator[WorkspaceDesk]:
    """The desk at that place; closed at the end."""
    server = server_of(where)
    if server is None:
        from keystead.cli.installation import opened

        with opened(where.place) as installation:
            yield HereWorkspaces(installation.services)
        return
    with operating(server) as client:
        yield ThereWorkspaces(client)


class HereWorkspaces:
    """The workspaces of this machine's own database."""

    def __init__(self, services: Services) -> None:
        self._services, self._workspaces = services, services.workspaces

    def create(self, name: str, plan: str | None, owner: str | None, email: str | None) -> Shape:
        """As WorkspaceDesk."""
        made = self._workspaces.create(name, plan_id=plan, owner=owner, email=email, actor=actor())
        return shapes.workspace(made)

    def page(self, query: str, limit: int, cursor: str | None) -> tuple[list[Shape], str | None]:
        """As WorkspaceDesk."""
        from keystead.domain.ids import WorkspaceId

        before = None if cursor is None else WorkspaceId(cursor)
        found = self._workspaces.list(query=query, limit=limit, before=before)
        return [shapes.workspace(one) for one in found.items], found.next

    def get(self, which: str) -> Shape:
        """As WorkspaceDesk."""
        return self._measured(self._id(which))

    def suspend(self, which: str) -> Shape:
        """As WorkspaceDesk."""
        return shapes.workspace(self._workspaces.suspend(self._id(which), actor()))

    def resume(self, which: str) -> Shape:
        """As WorkspaceDesk."""
        return shapes.workspace(self._workspaces.resume(self._id(which), actor()))

    def put_on_plan(self, which: str, plan: str, overrides: Overrides) -> Shape:
        """As WorkspaceDesk."""
        id = self._id(which)
        self._workspaces.set_plan(id, plan, overrides, actor())
        return self._measured(id)

    def _id(self, which: str) -> WorkspaceId:
        return self._workspaces.named(which).id

    def _measured(self, id: WorkspaceId) -> Shape:
        found = self._services.plans.of_workspace(id)
        quotas = shapes.quotas(found.use.quotas)
        return shapes.workspace(found.workspace, overrides=dict(found.overrides), quotas=quotas)


class ThereWorkspaces:
    """The workspaces of a server."""

    def __init__(self, operator: Operator) -> None:
        self._workspaces = operator.workspaces

    def create(self, name: str, plan: str | None, owner: str | None, email: str | None) -> Shape:
        """As WorkspaceDesk."""
        return _told(self._workspaces.create(name, plan=plan, owner=owner, email=email))

    def page(self, query: str, limit: int, cursor: str | None) -> tuple[list[Shape], str | None]:
        """As WorkspaceDesk."""
        found = self._workspaces.page(query=query, limit=limit, cursor=cursor)
        return [_told(one) for one in found.items], found.next_cursor

    def get(self, which: str) -> Shape:
        """As WorkspaceDesk."""
        return _told(self._workspaces.get(self._id(which)))

    def suspend(self, which: str) -> Shape:
        """As WorkspaceDesk."""
        return _told(self._workspaces.suspend(self._id(which)))

    def resume(self, which: str) -> Shape:
        """As WorkspaceDesk."""
        return _told(self._workspaces.resume(self._id(which)))

    def put_on_plan(self, which: str, plan: str, overrides: Overrides) -> Shape:
        """As WorkspaceDesk."""
        return _told(self._workspaces.put_on_plan(self._id(which), plan, overrides=overrides))

    def _id(self, which: str) -> str:
        """The id that was given, or the one of the only workspace of exactly that name."""
        from keystead.domain.errors import Invalid, NotFound
        from keystead.domain.ids import is_id

        if is_id("ws", which):
            return which
        found = [one.id for one in self._workspaces.list(query=which) if one.name == which]
        if not found:
            raise NotFound("There is no workspace of that id or name.")
        if len(found) > 1:
            raise Invalid.field("workspace", "is the name of several workspaces; give the id")
        return found[0]


def _told(workspace: ManagedWorkspace) -> Shape:
    told: Shape = shapes.answered(workspace)
    return told
