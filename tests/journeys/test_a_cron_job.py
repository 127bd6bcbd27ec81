"""Unattended jobs: a key with 90 days and no `keys:write` renews itself, for as long as the job runs."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keystead.cli.outcome import Exit
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import operator
from keystead.domain.renewals import Renewal
from tests.support.postgres import wait_until
from tests.support.processes import KEYSTEAD
from tests.support.product import Customer, Json, Key, next_second

LIFETIME = timedelta(days=90)
RENEWALS = 4


@dataclass
class Job:
    """A job with its token file, and no other way to its key."""

    customer: Customer
    file: Path
    first: Key

    def renew(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run the command of the job's timetable."""
        return self.customer.product.server.cli("keys", "renew", *self._arguments, *options)

    def start(self) -> subprocess.Popen[str]:
        """Start the command, as another one may be running."""
        server = self.customer.product.server
        return subprocess.Popen(
            [KEYSTEAD, "keys", "renew", *self._arguments],
            env={"KEYSTEAD_URL": server.base_url, "PATH": "/usr/bin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def key(self) -> Key:
        """The key in the file."""
        key = self.key_of_file
        return Key(self.customer.request_json("GET", "/v1/whoami", key=key)["key"], key.token)

    @property
    def key_of_file(self) -> Key:
        """The key in the file, of which only the token is known."""
        return Key({}, self.file.read_text().strip())

    @property
    def is_first(self) -> bool:
        """Whether the file still has the job's first token."""
        return self.key_of_file.token == self.first.token

    def family(self) -> list[Json]:
        """Return the live keys of the job."""
        named = f"?query={self.first.resource['description'].replace(' ', '+')}&status=active"
        return self.customer.keys(named)

    def post(self, token: str = "", headers: Mapping[str, str] | None = None) -> Json:
        """Renew with a token, as `curl` does."""
        key = Key({}, token or self.file.read_text().strip())
        answer = self.customer.send("POST", "/v1/keys/self/rotate", key=key, headers=headers)
        return {**answer.json(), "code": answer.json().get("code"), "http": answer.status_code}

    @property
    def _arguments(self) -> tuple[str, ...]:
        return "--token-file", str(self.file)


@pytest.fixture
def job(customer: Customer, tmp_path: Path) -> Job:
    """A job whose key reads documents for 90 days, and may renew itself."""
    job = job_of(customer, tmp_path)
    age()
    return job


def job_of(customer: Customer, folder: Path, description: str = "nightly export") -> Job:
    """Return a job with a new key in a private file of the folder."""
    draft = KeyDraft(
        description,
        next_second() + LIFETIME,
        ("documents:read",),
        renewal=Renewal(None),
    )
    principal = operator("journeys", customer.workspace_id)
    created = customer.product.services.keys.create(principal, draft)
    assert created.token is not None
    file = folder / "token"
    file.touch(0o600)
    file.write_text(created.token.reveal() + "\n")
    resource = {"id": created.key.id, "description": created.key.description}
    return Job(customer, file, Key(resource, created.token.reveal()))


def age() -> None:
    """Wait until a successor ends in a later second than a key that was made just now."""
    old_enough = datetime.now(UTC) + timedelta(seconds=2)
    wait_until(lambda: datetime.now(UTC) > old_enough, "the key is two seconds old")


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
    assert {code for _, code in results} <= {Exit.DONE, Exit.REFUSED}, results
    assert Exit.DONE in {code for _, code in results}, results
    for (_, stderr), code in results:
        assert code == Exit.DONE or "renew" in stderr
    assert job.customer.works(job.key)
    assert len(job.family()) == 2


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
