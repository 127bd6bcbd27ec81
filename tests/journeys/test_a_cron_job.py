"""Unattended jobs: a key with 90 days and no `keys:write` renews itself, for as long as the job runs."""

from __future__ import annotations

import os
import stat
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from keystead.cli.outcome import Exit
from keystead.client import renew_token_file
from tests.support.jobs import LIFETIME, Job, job_of
from tests.support.product import Customer, Json, Key

RENEWALS = 4


@pytest.fixture
def job(customer: Customer, tmp_path: Path) -> Job:
    """A job whose key reads documents for 90 days, and may renew itself."""
    return job_of(customer, tmp_path)


def test_my_job_renews_its_key(job: Job) -> None:
    """The command replaces the token in the file; the old one ends an hour after the new one was first used."""
    done = job.renew()
    assert done.returncode == Exit.DONE, done.stderr
    renewed = job.key
    assert renewed.id != job.first.id
    assert renewed.token not in done.stdout + done.stderr
    assert job.file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in job.file.parent.iterdir()] == ["token"]
    seen, old = job.customer.see(renewed), job.customer.see(job.first)
    assert seen["scopes"] == ["documents:read"]
    assert seen["renewal"] == {"until": None}
    assert seen["created_by"]["type"] == "operator"
    lifetime = datetime.fromisoformat(seen["expires_at"]) - datetime.fromisoformat(
        seen["created_at"]
    )
    assert abs(lifetime - LIFETIME) < timedelta(minutes=1)
    assert old["rotated_to"] == renewed.id
    assert datetime.fromisoformat(old["expires_at"]) - datetime.now().astimezone() < timedelta(
        hours=1
    )
    assert job.customer.works(job.first)
    rotated = [e for e in _events(job.customer, "key.rotated") if e["target"]["id"] == old["id"]]
    assert [(e["actor"]["type"], e["data"]["renewed"]) for e in rotated] == [("key", True)]


def test_a_lost_answer_heals(job: Job) -> None:
    """However often the answer is lost, the job's next attempt gets in, and at most two keys of it are live."""
    for _ in range(RENEWALS):
        assert job.post()["http"] == 201  # and the job never reads the answer
        assert len(job.family()) == 2
        assert job.customer.works(job.first)
    assert job.renew().returncode == Exit.DONE
    assert len(job.family()) == 2
    assert job.customer.works(job.key)


def test_two_jobs_at_the_same_time(job: Job) -> None:
    """One renews, the other says so; the file has a token that works."""
    running = [job.start() for _ in range(3)]
    results = [(process.communicate(timeout=60), process.returncode) for process in running]
    assert Exit.DONE in {code for _, code in results}, results
    # One that starts when another is done finds a key of this second, whose successor would not outlive it.
    said = {Exit.REFUSED: "Another process is renewing", Exit.DENIED: "would not outlive"}
    for (_, stderr), code in results:
        assert code == Exit.DONE or said[Exit(code)] in stderr, results
    assert job.customer.works(job.key)
    assert len(job.family()) == 2


@pytest.mark.parametrize("state", ["used", "unused", "revoked", "empty"])
def test_a_run_that_ended_early(job: Job, state: str) -> None:
    """Killed between the answer and the end, whatever the new token's state: the next run finishes."""
    draft = job.file.with_name(".token.renewed")
    draft.touch(0o600)
    made = job.post()
    if state != "empty":
        draft.write_text(made["token"] + "\n")
    if state == "used":
        assert job.customer.works(Key({}, made["token"]))
    if state == "revoked":
        assert job.post()["http"] == 201  # another run healed, and lost its answer too
    done = job.renew()
    assert done.returncode == Exit.DONE, done.stderr
    assert (job.key_of_file.token == made["token"]) == (state in {"used", "unused"})
    assert job.customer.works(job.key)
    assert len(job.family()) == 2
    assert [path.name for path in job.file.parent.iterdir()] == ["token"]


def test_a_suspended_workspace_costs_no_token(job: Job) -> None:
    """While neither token works the draft stays: it may be the one that works later."""
    draft = job.file.with_name(".token.renewed")
    draft.touch(0o600)
    draft.write_text(job.post()["token"])
    workspaces = job.customer.product.services.workspaces
    workspaces.suspend(job.customer.workspace_id)
    assert job.renew().returncode == Exit.DENIED
    assert draft.exists()
    workspaces.resume(job.customer.workspace_id)
    assert job.renew().returncode == Exit.DONE
    assert job.customer.works(job.key)


def test_a_file_that_others_can_read_is_refused(job: Job) -> None:
    """Nothing is sent, and nothing is renewed."""
    job.file.chmod(0o644)
    assert job.renew().returncode == Exit.DENIED
    job.file.chmod(0o600)
    assert job.key.id == job.first.id
    assert len(job.family()) == 1


def test_a_young_key_is_left_alone(job: Job) -> None:
    """With --if-older-than a timetable can run every day; it renews when the key is old enough."""
    young = job.renew("--if-older-than", "30d")
    assert (young.returncode, job.key.id) == (Exit.DONE, job.first.id), young.stderr


def test_who_holds_the_old_token_is_noticed(job: Job) -> None:
    """Once the successor was used, the old token can't renew: 409, and the owner learns of it immediately."""
    assert job.renew().returncode == Exit.DONE
    refused = job.post(job.first.token)
    assert (refused["http"], refused["code"]) == (409, "rotation-in-progress")
    (event,) = _events(job.customer, "key.reused")
    assert event["target"]["id"] == job.first.id
    assert job.customer.works(job.key)


def test_a_key_without_the_permission_cannot(customer: Customer, tmp_path: Path) -> None:
    """A key that was not allowed to renew itself gets 403, and the file stays."""
    key = customer.create(scopes=["documents:read"])
    answer = customer.send("POST", "/v1/keys/self/rotate", key=key)
    assert (answer.status_code, answer.json()["code"]) == (403, "not-renewable")
    assert customer.works(key)


def _events(customer: Customer, type: str) -> list[Json]:
    events: list[Json] = customer.request_json("GET", f"/v1/events?type={type}")["items"]
    return events


def test_the_draft_survives_a_crash_after_its_first_use(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The draft and its name in the folder are synced before the token is used; the file's, after the draft took it."""
    sync, synced = os.fsync, []

    def record(number: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(number).st_mode)
        synced.append((is_folder, any(job.file.parent.glob(".*.renewed"))))
        sync(number)

    monkeypatch.setattr(os, "fsync", record)
    renew_token_file(job.file, job.customer.product.server.base_url)
    assert synced == [(False, True), (True, True), (True, False)]
