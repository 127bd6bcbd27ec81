"""`keystead policy check`: the keys outside the policy, here and at a server, as text and as JSON."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keystead.cli.outcome import Exit
from tests.cli.conftest import Keystead
from tests.support.server_process import serving

PLANS = """
[[plans]]
id = "free"
name = "Free"
[plans.policy]
max_lifetime_days = 90
"""


def _create(keystead: Keystead, description: str, expires: str) -> str:
    created = keystead("keys", "create", "-d", description, "--expires", expires, "--json")
    return str(created.json["id"])


def test_keys_outside_the_policy_are_listed(keystead: Keystead, tmp_path: Path) -> None:
    """Exit code 1 and the keys that the policy would not allow; 0 without any."""
    short, long = _create(keystead, "short", "30d"), _create(keystead, "long", "365d")
    none = keystead("policy", "check", "--json")
    assert (none.code, none.json["items"]) == (Exit.DONE, [])
    file = tmp_path / "plans.toml"
    file.write_text(PLANS)
    assert keystead("plans", "apply", str(file), "--yes").code == Exit.DONE
    checked = keystead("policy", "check", "--json")
    assert checked.code == Exit.REFUSED
    assert [key["id"] for key in checked.json["items"]] == [long]
    assert checked.json["policy"]["max_lifetime_days"] == 90
    shown = keystead("policy", "check")
    assert long in shown.out
    assert short not in shown.out
    assert "Policy: keys live at most 90 days." in shown.err
    assert "1 key outside the policy." in shown.err


def test_a_key_beyond_the_policy_is_refused(keystead: Keystead, tmp_path: Path) -> None:
    """Creating, extending and rotating a key beyond the policy fails with its code; what is left out is clipped."""
    file = tmp_path / "plans.toml"
    file.write_text(PLANS)
    assert keystead("plans", "apply", str(file), "--yes").code == Exit.DONE
    key = _create(keystead, "sync", "30d")
    for command in (
        ("keys", "create", "-d", "new", "--expires", "91d"),
        ("keys", "create", "-d", "new", "--expires", "never"),
        ("keys", "update", key, "--expires", "91d"),
        ("keys", "rotate", key, "--expires", "91d"),
    ):
        refused = keystead(*command, "--json")
        assert refused.code == Exit.REFUSED, command
        assert '"against-policy"' in refused.err
    made = keystead("keys", "create", "-d", "new", "--json").json
    ends = datetime.fromisoformat(made["expires_at"])
    assert timedelta(days=89, hours=23) < ends - datetime.now(UTC) <= timedelta(days=90)


def test_at_a_server(run: Keystead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a workspace's own key the check is of that workspace."""
    with serving(f"sqlite:///{tmp_path / 'keystead.db'}") as server:
        monkeypatch.setenv("KEYSTEAD_TOKEN", server.token("plan:read", "keys:read"))
        checked = run("policy", "check", "--json", "--url", server.base_url)
    assert (checked.code, checked.json["items"]) == (Exit.DONE, [])
