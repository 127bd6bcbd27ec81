"""Metrics for Prometheus: of the whole server, on an address of their own, without a name of a tenant."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Timer
from typing import Any

import httpx2
import pytest
from prometheus_client import Counter, Gauge
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.parser import text_string_to_metric_families

from keystead import bootstrap
from keystead.bootstrap.background import Background
from keystead.operation.metrics import listener
from keystead.operation.metrics.counters import Metrics
from keystead.operation.metrics.definitions import DEFINITIONS
from keystead.operation.metrics.processes import Processes
from keystead.services.deliveries import TASK as DELIVER
from keystead.settings import Settings
from keystead.worker.loop import Task
from scripts import monitoring
from tests.support.postgres import wait_until
from tests.support.server_process import HOST, free_port, serving

LABELS = {name for each in DEFINITIONS for name in each.labels} | {"le"}


class Scrape:
    """One response of /metrics."""

    def __init__(self, port: int) -> None:
        self.text = httpx2.get(f"http://{HOST}:{port}/metrics", trust_env=False).text
        self.samples: list[Any] = [
            sample
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
        ]

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of all samples of that name with at least these labels."""
        values = (s.value for s in self.samples if s.name == name and _holds(s.labels, labels))
        return float(sum(values))


def test_a_process_that_is_starting_fails_no_scrape(tmp_path: Path) -> None:
    """Its file is empty for a moment: the others' numbers are reported as soon as it is not."""
    starting = tmp_path / f"counter_{os.getpid()}.db"
    starting.touch()
    collector = listener._Shared(tmp_path)
    with pytest.raises(struct.error):
        list(collector._all.collect())  # type: ignore[no-untyped-call]
    Timer(0.05, lambda: MmapedDict(str(starting)).close()).start()  # type: ignore[no-untyped-call]
    assert list(collector.collect()) == []


def test_a_process_counts_only_what_is_defined(tmp_path: Path) -> None:
    """Every metric that a process keeps has a definition of the same labels and type."""
    defined = {each.name: (each.type, each.labels) for each in DEFINITIONS}
    kept = {}
    for metric in vars(Metrics()).values():
        (family,) = metric.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        kept[name] = (family.type, metric._labelnames)
    assert kept.items() <= defined.items()
    assert {name for name in defined if name not in kept} == {
        "keystead_build_info",
        *(name for name in defined if name.startswith("process_")),
    }


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[tuple[Background, Metrics]]:
    """The background work of a server process, not started, and what the process counts."""
    settings, metrics = Settings(data=tmp_path / "data"), Metrics()
    bootstrap.prepare(settings)
    installation = bootstrap.open_safely(settings, metrics)
    yield bootstrap.background_of(installation, metrics, deliver=True), metrics
    installation.close()


def test_the_series_of_every_task_exist_from_the_start(
    counted: tuple[Background, Metrics],
) -> None:
    """Prometheus sees no increase in a counter that appears at 1, and no age of a task that has never succeeded."""
    before = time.time()
    background, metrics = counted
    tasks = {task.name for task in background.loop.tasks}
    outcomes = ("given_up", "postponed")
    pairs = {(task, outcome): 0.0 for task in tasks | {DELIVER} for outcome in outcomes}
    assert _values(metrics._items) == pairs
    assert _values(metrics._failures) == {(task,): 0.0 for task in tasks}
    done_at = _values(metrics._done_at)
    assert done_at.keys() == {(task,) for task in tasks}
    assert all(before - 3600 < at <= before for at in done_at.values())


def test_a_rule_sees_every_task_that_is_late(counted: tuple[Background, Metrics]) -> None:
    """One rule matches each task: it waits for three intervals, or for at most ten minutes if that is longer."""
    for task in counted[0].loop.tasks:
        [seconds] = _late_after(task)
        assert 3 * task.seconds <= seconds <= max(600, 3 * task.seconds), task.name


def _late_after(task: Task) -> Iterator[int]:
    for rule in monitoring.RULES_OF:
        late = re.fullmatch(
            r'time\(\) - keystead_task_done_\w+\{JOB, task(=|=~|!~)"(.+)"\} > (\d+)',
            rule.expression,
        )
        if late and bool(re.fullmatch(late[2], task.name)) == (late[1] != "!~"):
            yield int(late[3])


def _values(metric: Counter | Gauge) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in metric.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_all_processes_are_one_to_prometheus() -> None:
    """Memory is added up over the parent and its children, CPU time stays when a child ends."""
    alone = _processes()
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; sum(range(10**7)); print(flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        together = _processes()
        memory = "process_resident_memory_bytes"
        assert together[memory] > alone[memory] + 1_000_000
        assert together["process_start_time_seconds"] == alone["process_start_time_seconds"]
    cpu = "process_cpu_seconds_total"
    assert _processes()[cpu] >= together[cpu] > alone[cpu]
    assert alone.keys() == {each.name for each in DEFINITIONS if each.name.startswith("process_")}


def _processes() -> dict[str, float]:
    families = Processes().collect()
    return {sample.name: sample.value for family in families for sample in family.samples}


def _holds(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return wanted.items() <= labels.items()


@pytest.mark.slow
def test_the_whole_server_is_counted_without_names(tmp_path: Path) -> None:
    """Two processes are one server to Prometheus: requests by template, verdicts by reason, tasks; no id, no address.

    When a process dies, its counters stay and its gauges go. The server's own port shows no
    metrics.
    """
    port = free_port()
    url, own = f"sqlite:///{tmp_path / 'keystead.db'}", ("--metrics-port", str(port))
    with serving(url, workers=2, arguments=own) as server:
        good, revoked = server.token(), server.token()
        key_id = server.call("GET", "/v1/whoami", token=revoked).json()["key"]["id"]
        assert server.call("DELETE", f"/v1/keys/{key_id}", token=good).status_code == 204
        for _ in range(20):
            assert server.call("GET", f"/v1/keys/{key_id}", token=good).status_code == 200
        assert server.call("GET", "/v1/keys", token=revoked).status_code == 401
        assert server.call("GET", "/v1/keys", token="ks_nonsense").status_code == 401
        assert server.call("GET", "/metrics").status_code == 404

        scrape = Scrape(port)
        route = {"route": "/v1/keys/{id}", "status": "200", "method": "GET"}
        assert scrape.total("keystead_requests_total", **route) == 20
        assert scrape.total("keystead_request_duration_seconds_count", route=route["route"]) == 21
        verdicts = {
            v: scrape.total("keystead_verifications_total", verdict=v)
            for v in ("verified", "revoked", "malformed")
        }
        assert verdicts == {"verified": 22, "revoked": 1, "malformed": 1}
        assert scrape.total("keystead_build_info", database="sqlite") == 1
        assert {label for sample in scrape.samples for label in sample.labels} <= LABELS
        assert not [v for s in scrape.samples for v in s.labels.values() if " " in v]
        for secret in (key_id, good, good[-20:], revoked[-20:], "ws_", HOST):
            assert secret not in scrape.text

        begun = time.time()
        wait_until(lambda: _flushed(port) > begun, "a flush is told")
        wait_until(lambda: Scrape(port).total("keystead_active_keys") == 1, "the keys are counted")
        assert Scrape(port).total("keystead_workspaces") == 1
        assert {sample.name for sample in scrape.samples} >= {"process_cpu_seconds_total"}
        assert server.process is not None
        for process in server.processes():
            os.kill(process, signal.SIGKILL)
        killed = time.time()
        wait_until(lambda: not 0 < _flushed(port) < killed, "the gauges of the dead are gone")
        assert Scrape(port).total("keystead_requests_total", **route) == 20


def _flushed(port: int) -> float:
    return Scrape(port).total("keystead_task_done_timestamp_seconds", task="flush_use")
