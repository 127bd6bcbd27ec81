"""Jobs of a customer, each with a key that renews itself in a private file."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from keystead.domain.keys import KeyDraft
from keystead.domain.principals import operator
from keystead.domain.renewals import Renewal
from tests.support.processes import KEYSTEAD
from tests.support.product import Customer, Json, Key, next_second

LIFETIME: Final = timedelta(days=90)


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


def job_of(customer: Customer, folder: Path, description: str = "nightly export") -> Job:
    """Return a job with a key in a private file of the folder.

    The key is some seconds old: a successor of a newer one might end in the same second as it.
    """
    draft = KeyDraft(
        description,
        next_second(-10) + LIFETIME,
        ("documents:read",),
        renewal=Renewal(None),
    )
    principal = operator("journeys", customer.workspace_id)
    created = customer.product.seconds_ago.keys.create(principal, draft)
    assert created.token is not None
    file = folder / "token"
    file.touch(0o600)
    file.write_text(created.token.reveal() + "\n")
    resource = {"id": created.key.id, "description": created.key.description}
    return Job(customer, file, Key(resource, created.token.reveal()))
