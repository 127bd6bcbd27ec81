"""`keystead workspaces` and `keystead events`: tenants, their plans, and their audit log."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from pydantic import TypeAdapter

from keystead.bootstrap import Installation
from keystead.cli.outcome import Exit
from keystead.domain.verification import Denied, Verified
from keystead.wire import resources
from tests.cli.conftest import Keystead, one_engine


def test_a_workspace_is_created_with_its_owner(
    keystead: Keystead, installation: Installation
) -> None:
    """Only its ID is on standard output; plan and owner are the given ones."""
    created = keystead(
        "workspaces",
        "create",
        "Bolt",
        "--plan",
        "team",
        "--owner",
        "Bo",
        "--email",
        "bo@bolt.example",
    )
    assert created.code == Exit.DONE
    workspace = installation.services.workspaces.named("Bolt")
    assert created.out == f"{workspace.id}\n"
    assert workspace.plan_id == "team"
    owner = installation.services.workspaces.owner(workspace.id).user
    assert (owner.name, owner.email) == ("Bo", "bo@bolt.example")


@one_engine
def test_invalid_values_create_no_workspace(keystead: Keystead) -> None:
    """An unknown plan, an empty name, an email without its owner: refused, and no workspace is created."""
    for arguments in (["Bolt", "--plan", "gold"], [" "], ["Bolt", "--email", "x@y.example"]):
        refused = keystead("workspaces", "create", *arguments)
        assert refused.code in {Exit.REFUSED, Exit.USAGE}
        assert refused.out == ""
    listed = keystead("workspaces", "list", "--json").json
    assert [workspace["name"] for workspace in listed["items"]] == ["Acme"]


def test_workspaces_are_listed_newest_first(keystead: Keystead) -> None:
    """Each has its plan and whether it is suspended; pages continue by cursor."""
    for name in ("Bolt", "Cog"):
        keystead("workspaces", "create", name)
    listed = keystead("workspaces", "list", "--json").json["items"]
    assert [workspace["name"] for workspace in listed] == ["Cog", "Bolt", "Acme"]
    members = {"id", "name", "plan", "external_id", "created_at", "suspended_at"}
    assert set(listed[0]) == members
    page = keystead("workspaces", "list", "--limit", "1", "--json").json
    rest = keystead("workspaces", "list", "--cursor", page["next_cursor"], "--json").json
    assert [workspace["name"] for workspace in rest["items"]] == ["Bolt", "Acme"]
    assert "Cog" in keystead("workspaces", "list").out


def test_suspension_is_immediate_and_can_be_undone(
    keystead: Keystead, installation: Installation
) -> None:
    """A suspended workspace's tokens are refused from the next request on, and work again when it is resumed."""
    token = keystead("keys", "create", "-d", "x").out.strip()
    verify = installation.services.verifier.verify
    assert keystead("workspaces", "suspend", "Acme", "--json").json["suspended_at"] is not None
    assert isinstance(verify(token), Denied)
    assert "suspended" in keystead("workspaces", "show", "Acme").out
    assert keystead("workspaces", "resume", "Acme", "--json").json["suspended_at"] is None
    assert isinstance(verify(token), Verified)
    assert keystead("workspaces", "suspend", "Nobody").code == Exit.REFUSED


def test_a_workspace_is_exported_and_deleted(
    keystead: Keystead, installation: Installation, tmp_path: Path
) -> None:
    """The file is private, whole and new; deleting takes a suspension and a confirmation."""
    keystead("keys", "create", "-d", "sync")
    file = tmp_path / "acme.jsonl"
    exported = keystead("workspaces", "export", "Acme", str(file), "--json")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert exported.json == {"file": str(file), "lines": len(lines) - 1}
    assert lines[-1] == {"type": "end", "lines": len(lines) - 1}
    assert [line["data"]["description"] for line in lines if line["type"] == "key"] == ["sync"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert keystead("workspaces", "export", "Acme", str(file)).code == Exit.USAGE
    missing = tmp_path / "none.jsonl"
    assert keystead("workspaces", "export", "Nobody", str(missing)).code == Exit.REFUSED
    assert not missing.exists()
    refused = keystead("workspaces", "delete", "Acme", "--yes")
    assert refused.code == Exit.REFUSED
    assert "Only a suspended workspace" in refused.err
    assert installation.services.workspaces.named("Acme").suspended_at is None
    keystead("workspaces", "suspend", "Acme")
    assert keystead("workspaces", "delete", "Acme").code == Exit.USAGE
    deleted = keystead("workspaces", "delete", "Acme", "--yes")
    assert (deleted.code, deleted.out) == (Exit.DONE, "")
    assert keystead("workspaces", "list", "--json").json["items"] == []


def test_a_plan_with_limits_of_its_own(keystead: Keystead) -> None:
    """The plan's limits hold except the workspace's own; the quotas have the shape of the API."""
    keystead("keys", "create", "-d", "x")
    own = ("--limit", "api_keys=20", "--limit", "documents=unlimited")
    changed = keystead("workspaces", "plan", "Acme", "team", *own, "--json").json
    quotas = TypeAdapter(resources.Quotas).validate_python(changed["quotas"])
    assert (changed["plan"], quotas.api_keys.limit, quotas.api_keys.used) == ("team", 20, 1)
    assert (quotas.documents, quotas.collections) == (
        resources.Quota(limit=None, used=0),
        resources.Quota(limit=25, used=0),
    )
    assert "1 of 20" in keystead("workspaces", "show", "Acme").out
    for text in ("api_keys", "api_keys=", "api_keys=-1", "api_keys=many", "keys=1", "api_keys=1e3"):
        refused = keystead("workspaces", "plan", "Acme", "team", f"--limit={text}")
        assert refused.code in {Exit.USAGE, Exit.REFUSED}, text
    assert keystead("workspaces", "plan", "Acme", "gold").code == Exit.REFUSED
    assert keystead("workspaces", "show", "Acme", "--json").json["quotas"] == changed["quotas"]


def test_events_show_actor_and_action(keystead: Keystead) -> None:
    """Newest first, in the shape of the API, filtered by type and continued by cursor."""
    keystead("keys", "create", "-d", "sync")
    keystead("workspaces", "suspend", "Acme")
    listed = TypeAdapter(resources.EventList).validate_json(
        keystead("events", "list", "--json").out
    )
    types = [event.type.value for event in listed.items]
    assert types == ["workspace.suspended", "key.created", "workspace.created"]
    page = keystead("events", "list", "--limit", "2", "--json").json
    rest = keystead("events", "list", "--cursor", page["next_cursor"], "--json").json
    assert [event["type"] for event in rest["items"]] == types[2:]
    only = keystead("events", "list", "--type", "key.created", "--json")
    assert [event["type"] for event in only.json["items"]] == ["key.created"]
    assert "description=sync" in keystead("events", "list").out
    refused = keystead("events", "list", "--type", "key.eaten")
    assert refused.code == Exit.REFUSED
    assert "key.revoked" in refused.err


def test_a_command_in_the_wrong_folder_makes_nothing(run: Keystead, tmp_path: Path) -> None:
    """Without an installation, a command names the folder that it used, and creates no file there."""
    nowhere = tmp_path / "elsewhere"
    ended = run("keys", "list", "--data", str(nowhere))
    assert (ended.code, ended.out) == (Exit.CONFIGURATION, "")
    assert str(nowhere) in ended.err
    assert not nowhere.exists()
