"""Every metric of a server, once: the listener, the dashboard, the rules and the tests read this list.

No label names a workspace, a key or an address, and no value of a label has a space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Definition:
    """A metric: its name to Prometheus, what it is, and its labels."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    text: str
    labels: tuple[str, ...] = ()


REQUESTS: Final = Definition(
    "keystead_requests_total", "counter", "Responses", ("method", "route", "status")
)
SECONDS: Final = Definition(
    "keystead_request_duration_seconds",
    "histogram",
    "Time from the head of a request to the end of its response",
    ("method", "route"),
)
VERIFICATIONS: Final = Definition(
    "keystead_verifications_total", "counter", "Token verifications", ("verdict",)
)
ATTEMPTS: Final = Definition(
    "keystead_webhook_attempts_total", "counter", "Attempts to deliver webhooks", ("outcome",)
)
TASK_FAILURES: Final = Definition(
    "keystead_task_failures_total", "counter", "Failed runs of a periodic task", ("task",)
)
ITEM_FAILURES: Final = Definition(
    "keystead_task_item_failures_total",
    "counter",
    "Items of background tasks that failed and were postponed or given up",
    ("task", "outcome"),
)
TASK_DONE: Final = Definition(
    "keystead_task_done_timestamp_seconds",
    "gauge",
    "Last successful run of a periodic task or its start, in the process that is furthest behind",
    ("task",),
)
ACTIVE_KEYS: Final = Definition(
    "keystead_active_keys", "gauge", "Active keys in the database, as limits count them"
)
WORKSPACES: Final = Definition("keystead_workspaces", "gauge", "Workspaces in the database")
WAITING: Final = Definition(
    "keystead_deliveries_waiting", "gauge", "Webhook deliveries that are not delivered yet"
)
OVERDUE: Final = Definition(
    "keystead_deliveries_overdue_seconds", "gauge", "How long the oldest due delivery has waited"
)
BUILD: Final = Definition(
    "keystead_build_info",
    "gauge",
    "Running build",
    ("version", "revision", "python", "database"),
)
CPU: Final = Definition(
    "process_cpu_seconds_total", "counter", "CPU time of all processes of the server"
)
MEMORY: Final = Definition(
    "process_resident_memory_bytes", "gauge", "Resident memory of all processes, added up"
)
VIRTUAL_MEMORY: Final = Definition(
    "process_virtual_memory_bytes", "gauge", "Virtual memory of all processes, added up"
)
STARTED: Final = Definition(
    "process_start_time_seconds", "gauge", "Start of the server's first process"
)
OPEN_FILES: Final = Definition(
    "process_open_fds", "gauge", "Open file descriptors of the process that has the most"
)
MOST_FILES: Final = Definition("process_max_fds", "gauge", "Limit of open file descriptors")

DEFINITIONS: Final = (
    REQUESTS,
    SECONDS,
    VERIFICATIONS,
    ATTEMPTS,
    TASK_FAILURES,
    ITEM_FAILURES,
    TASK_DONE,
    ACTIVE_KEYS,
    WORKSPACES,
    WAITING,
    OVERDUE,
    BUILD,
    CPU,
    MEMORY,
    VIRTUAL_MEMORY,
    STARTED,
    OPEN_FILES,
    MOST_FILES,
)
