"""What is to be watched: the dashboard, the rules and the page about alerts fit the metrics and the log."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from keystead.operation.metrics.definitions import DEFINITIONS
from scripts import monitoring

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guides" / "alerts.md").read_text()
EVENT = re.compile(r"""\b(_log|log|said)(?:\.(\w+))?\(\s*"([^"]+)\"""")
URGENCIES = {"page", "ticket", "watch", "none"}


def rows(section: str) -> dict[str, list[str]]:
    """Return the cells of a section's table by the name in its first column."""
    text = PAGE.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line[:3] == "| `"]
    return {first.strip("`"): rest for first, *rest in cells}


def queries() -> list[str]:
    """Return every query of the dashboard."""
    panels: list[Any] = json.loads(monitoring.DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def test_both_files_are_what_the_definitions_give() -> None:
    """`make monitoring` would change nothing."""
    assert monitoring.DASHBOARD.read_text() == monitoring.dashboard()
    assert monitoring.RULES.read_text() == monitoring.rules()


def test_every_metric_is_on_the_dashboard_and_nothing_else() -> None:
    """A new metric needs a panel; a panel or a rule for a metric that is gone fails."""
    names = {monitoring.sampled_name(each) for each in DEFINITIONS}
    assert set(monitoring.NAME.findall(" ".join(queries()))) == names
    assert set(monitoring.NAME.findall(monitoring.RULES.read_text())) <= names


def test_every_label_in_a_query_is_one_of_its_metrics() -> None:
    """Queries select and group by labels that exist."""
    labels = {name for each in DEFINITIONS for name in each.labels} | {"job", "le", "instance"}
    text = "\n".join([*queries(), *(rule.expression for rule in monitoring.RULES_OF)])
    used = set(re.findall(r"(\w+)(?:=|!=|=~|!~)\"", text))
    for listed in re.findall(r"by \(([^)]+)\)", text):
        used |= set(re.split(r",\s*", listed))
    assert used
    assert used <= labels


def test_prometheus_accepts_every_query(tmp_path: Path) -> None:
    """The rules are valid, and so is each query of the dashboard, recorded here as a rule."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on this machine; it comes with Debian's package prometheus")
    records = [
        f"  - record: dashboard:query:{number}\n    expr: {json.dumps(query)}"
        for number, query in enumerate(queries())
    ]
    panels = tmp_path / "panels.yml"
    panels.write_text("\n".join(["groups:", "- name: panels", "  rules:", *records, ""]))
    done = subprocess.run(
        [promtool, "check", "rules", monitoring.RULES, panels],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(monitoring.RULES_OF)} rules found" in done.stdout
    assert f"{len(records)} rules found" in done.stdout


def test_every_rule_is_on_the_page() -> None:
    """Its name, its urgency and its meaning, in the order of the file."""
    shown = [(name, *cells[:2]) for name, cells in rows("Metrics").items()]
    assert shown == [
        (rule.name, rule.severity, rule.summary.rstrip(".")) for rule in monitoring.RULES_OF
    ]
    assert {rule.severity for rule in monitoring.RULES_OF} <= URGENCIES


def test_every_event_of_the_log_is_on_the_page_with_its_level() -> None:
    """The table has exactly the events that the code logs, each at the level at which it logs them."""
    logged: dict[str, set[str]] = {}
    for folder in ("cli", "http", "operation", "services", "worker", "gate"):
        for path in (ROOT / "src" / "keystead" / folder).rglob("*.py"):
            for _, level, event in EVENT.findall(path.read_text()):
                # Without a method, the first of several is an error and the others are warnings.
                logged.setdefault(event, set()).update([level] if level else ["error", "warning"])
    table = rows("Log events")
    assert {event: set(cells[0].split(", ")) for event, cells in table.items()} == logged
    assert {cells[1] for cells in table.values()} <= URGENCIES
    for event, cells in table.items():
        assert (cells[1] == "none") or "info" not in cells[0], event
