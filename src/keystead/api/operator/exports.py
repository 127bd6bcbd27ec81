"""The call of the Operator API that exports a workspace, as JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from keystead.api.calls import Call
from keystead.api.operations import OPERATOR, WITHIN, WORKSPACE, Operations, Streamed
from keystead.api.operator.workspaces import MANAGED_WORKSPACES
from keystead.wire.exports import ExportEnd, ExportLine, line_of, text_of
from keystead.wire.operator import WorkspaceWithUse
from keystead.wire.policies import PolicyLayers

EXPORTS: Final = Operations(WITHIN, MANAGED_WORKSPACES.tag, OPERATOR, path_parameters=(WORKSPACE,))
JSON_LINES: Final = "application/jsonl"


@EXPORTS.call("GET", "/export", "Export a workspace", streams=JSON_LINES)
def export_workspace(call: Call) -> Streamed:
    """Return everything in the workspace as JSON lines, except secrets: no digest, password or signing secret.

    Each line is `{"type": …, "data": …}`, with `data` in the shape of the API: `workspace`, `policy`, `member`,
    `invitation`, `key`, `usage` (of a key and day), `collection`, `document` (with `text` and `collection`),
    `webhook` and `event`. The last line is `{"type": "end", "lines": n}` with the number of lines before it: without
    it the export is incomplete. It is read in pages, each of one moment. The workspace gets an event
    `workspace.exported`.
    """
    return Streamed(_parts(call))


def _parts(call: Call) -> Iterator[bytes]:
    services, workspace_id = call.services, call.principal.workspace_id
    exports = services.exports
    exports.begin(call.principal, call.origin)
    workspace = WorkspaceWithUse.measured(services.plans.of_workspace(workspace_id))
    policy = PolicyLayers.of(services.policies.of_workspace(workspace_id))
    lines = [ExportLine(type="workspace", data=workspace), ExportLine(type="policy", data=policy)]
    yield text_of(lines)
    count = len(lines)
    for page in exports.pages(workspace_id):
        now = exports.now()
        yield text_of([line_of(exported, now) for exported in page])
        count += len(page)
    yield text_of([ExportEnd(type="end", lines=count)])
