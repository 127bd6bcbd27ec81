"""Generate the Grafana dashboard and the Prometheus rules from the definitions of the metrics.

    python3 scripts/monitoring.py

A metric without a panel, and a rule for a metric that doesn't exist, are errors here.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from keystead.operation.metrics.definitions import DEFINITIONS, Definition

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "deploy" / "monitoring"
DASHBOARD: Final = FOLDER / "dashboard.json"
RULES: Final = FOLDER / "rules.yml"
NAME: Final = re.compile(r"\b(?:keystead|process)_\w+")
HALF: Final = 12
"""Half the width of a dashboard, in Grafana's units."""
HEIGHT: Final = 7


@dataclass(frozen=True, slots=True)
class Rule:
    """An alert: a PromQL expression over JOB, how long it must hold, how urgent it is, and what it says."""

    name: str
    expression: str
    minutes: int
    severity: str
    summary: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph: PromQL expressions over JOB with their legends, and Grafana's unit of their values."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"


REQUESTS: Final = "sum by (status) (rate(keystead_requests_total{JOB}[5m]))"
FAILED: Final = 'sum(rate(keystead_requests_total{JOB, status=~"5.."}[5m]))'
ALL_REQUESTS: Final = "sum(rate(keystead_requests_total{JOB}[5m]))"
SLOW: Final = (
    "histogram_quantile(QUANTILE,"
    " sum by (le) (rate(keystead_request_duration_seconds_bucket{JOB}[5m])))"
)
AGE: Final = "time() - min by (task) (keystead_task_done_timestamp_seconds{JOB})"
HOURLY: Final = "expired_rows|retention|collection_deletions|webhook_deletions"

RULES_OF: Final = (
    Rule("KeysteadDown", "up{JOB} == 0", 2, "page", "A server does not answer Prometheus."),
    Rule(
        "KeysteadErrors",
        f"{FAILED} / {ALL_REQUESTS} > 0.01",
        5,
        "page",
        "More than 1 % of the requests fail.",
    ),
    Rule(
        "KeysteadUnavailable",
        'sum(rate(keystead_verifications_total{JOB, verdict="unavailable"}[5m])) > 0',
        2,
        "page",
        "Keys can't be verified because the database does not answer.",
    ),
    Rule(
        "KeysteadSlow",
        f"{SLOW.replace('QUANTILE', '0.99')} > 1",
        10,
        "ticket",
        "One request in a hundred takes longer than a second.",
    ),
    Rule(
        "KeysteadGuessing",
        'sum(rate(keystead_verifications_total{JOB, verdict="unknown"}[5m])) > 5',
        10,
        "ticket",
        "Someone sends tokens of the right form that don't exist.",
    ),
    Rule(
        "KeysteadUseNotWritten",
        'time() - keystead_task_done_timestamp_seconds{JOB, task="flush_use"} > 60',
        2,
        "ticket",
        "Last use is not being written; verification continues.",
    ),
    Rule(
        "KeysteadTaskLate",
        f'time() - keystead_task_done_timestamp_seconds{{JOB, task!~"flush_use|{HOURLY}"}} > 600',
        5,
        "ticket",
        "A periodic task has not succeeded for ten minutes.",
    ),
    Rule(
        "KeysteadHourlyTaskLate",
        f'time() - keystead_task_done_timestamp_seconds{{JOB, task=~"{HOURLY}"}} > 10800',
        5,
        "ticket",
        "An hourly task has not succeeded for three hours.",
    ),
    Rule(
        "KeysteadTaskFails",
        "sum by (task) (increase(keystead_task_failures_total{JOB}[1h])) > 10",
        0,
        "ticket",
        "A periodic task fails again and again.",
    ),
    Rule(
        "KeysteadItemGivenUp",
        'sum by (task) (increase(keystead_task_item_failures_total{JOB, outcome="given_up"}[1h])) > 0',
        0,
        "ticket",
        "A background task has given up on an item; the log names it.",
    ),
    Rule(
        "KeysteadDeliveriesLate",
        "max(keystead_deliveries_overdue_seconds{JOB}) > 300",
        5,
        "page",
        "Webhooks are due and not being sent.",
    ),
    Rule(
        "KeysteadDeliveriesFail",
        'sum(rate(keystead_webhook_attempts_total{JOB, outcome!="delivered"}[30m]))'
        " / sum(rate(keystead_webhook_attempts_total{JOB}[30m])) > 0.5",
        30,
        "ticket",
        "More than half of the attempts to deliver webhooks fail.",
    ),
    Rule(
        "KeysteadOpenFiles",
        "process_open_fds{JOB} / process_max_fds{JOB} > 0.8",
        5,
        "ticket",
        "A process has opened more than 80 % of the files that it may.",
    ),
)

PANELS: Final = (
    Panel("Requests by status", ((REQUESTS, "{{status}}"),), "reqps"),
    Panel(
        "Duration of requests",
        tuple((SLOW.replace("QUANTILE", each), each) for each in ("0.5", "0.95", "0.99")),
        "s",
    ),
    Panel(
        "Verifications by verdict",
        (("sum by (verdict) (rate(keystead_verifications_total{JOB}[5m]))", "{{verdict}}"),),
        "reqps",
    ),
    Panel(
        "Busiest routes",
        (("topk(10, sum by (route) (rate(keystead_requests_total{JOB}[5m])))", "{{route}}"),),
        "reqps",
    ),
    Panel(
        "Active keys and workspaces",
        (
            ("max(keystead_active_keys{JOB})", "active keys"),
            ("max(keystead_workspaces{JOB})", "workspaces"),
        ),
    ),
    Panel("Waiting deliveries", (("max(keystead_deliveries_waiting{JOB})", "waiting"),)),
    Panel(
        "Oldest due delivery", (("max(keystead_deliveries_overdue_seconds{JOB})", "overdue"),), "s"
    ),
    Panel(
        "Attempts to deliver",
        (("sum by (outcome) (rate(keystead_webhook_attempts_total{JOB}[5m]))", "{{outcome}}"),),
        "reqps",
    ),
    Panel("Time since a task succeeded", ((AGE, "{{task}}"),), "s"),
    Panel(
        "Failures of tasks in an hour",
        (
            ("sum by (task) (increase(keystead_task_failures_total{JOB}[1h]))", "{{task}}"),
            (
                "sum by (task, outcome) (increase(keystead_task_item_failures_total{JOB}[1h]))",
                "{{task}}: items {{outcome}}",
            ),
        ),
    ),
    Panel(
        "CPU cores in use",
        (("rate(process_cpu_seconds_total{JOB}[5m])", "{{instance}}"),),
    ),
    Panel(
        "Memory",
        (
            ("process_resident_memory_bytes{JOB}", "{{instance}} resident"),
            ("process_virtual_memory_bytes{JOB}", "{{instance}} virtual"),
        ),
        "bytes",
    ),
    Panel(
        "Open files",
        (
            ("process_open_fds{JOB}", "{{instance}}"),
            ("process_max_fds{JOB}", "{{instance}} limit"),
        ),
    ),
    Panel(
        "Running since, and which build",
        (
            ("time() - process_start_time_seconds{JOB}", "{{instance}} uptime"),
            ("keystead_build_info{JOB}", "{{instance}} {{version}} {{revision}} {{database}}"),
        ),
        "s",
    ),
)


def main() -> None:
    """Write both files."""
    unknown = _names(rule.expression for rule in RULES_OF) - _sampled()
    missing = _sampled() ^ _names(query for panel in PANELS for query, _ in panel.queries)
    if unknown or missing:
        sys.exit(f"without a definition, or without a panel: {sorted(unknown | missing)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    DASHBOARD.write_text(dashboard())
    RULES.write_text(rules())


def rules() -> str:
    """Return the rules for Prometheus."""
    lines = [
        "# Generated by `make monitoring`; do not edit.",
        "groups:",
        "- name: keystead",
        "  rules:",
    ]
    for rule in RULES_OF:
        lines += [
            f"  - alert: {rule.name}",
            f"    expr: {json.dumps(_of_job(rule.expression, 'keystead'))}",
            f"    for: {rule.minutes}m",
            f"    labels: {{severity: {rule.severity}}}",
            f"    annotations: {{summary: {json.dumps(rule.summary)}}}",
        ]
    return "\n".join([*lines, ""])


def dashboard() -> str:
    """Return the dashboard for Grafana. Its variables choose the data source and the job."""
    job = "label_values(keystead_build_info, job)"
    source = {"type": "prometheus", "uid": "${source}"}
    variables: list[dict[str, Any]] = [
        {"name": "source", "type": "datasource", "query": "prometheus"},
        {"name": "job", "type": "query", "datasource": source, "query": job, "definition": job},
    ]
    written = {
        "title": "Keystead",
        "uid": "keystead",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": variables},
        "panels": [_panel(number, panel, source) for number, panel in enumerate(PANELS)],
    }
    return json.dumps(written, indent=1) + "\n"


def _panel(number: int, panel: Panel, source: dict[str, str]) -> dict[str, Any]:
    row, column = divmod(number, 2)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": _description(panel),
        "datasource": source,
        "gridPos": {"x": column * HALF, "y": row * HEIGHT, "w": HALF, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": source,
                "expr": _of_job(query, "$job"),
                "legendFormat": legend,
            }
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }


def _description(panel: Panel) -> str:
    shown = _names(query for query, _ in panel.queries)
    return ". ".join(each.text for each in DEFINITIONS if sampled_name(each) in shown)


def sampled_name(definition: Definition) -> str:
    """Return the name of the samples that queries read: of a histogram, its buckets."""
    return definition.name + ("_bucket" if definition.type == "histogram" else "")


def _of_job(query: str, job: str) -> str:
    return query.replace("JOB", f'job="{job}"')


def _sampled() -> set[str]:
    return {sampled_name(each) for each in DEFINITIONS}


def _names(queries: Iterable[str]) -> set[str]:
    return {name for query in queries for name in NAME.findall(query)}


if __name__ == "__main__":
    main()
