"""Good practice for a job: it pushes by the command line, with a key of its own, until that key is revoked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keystead.cli.outcome import Exit
from tests.support.postgres import wait_until
from tests.support.product import Customer

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.slow
def test_my_docs_are_pushed_found_and_refused_after_the_revocation(customer: Customer) -> None:
    """Each file of real docs is found by its words; once its key is revoked the job's next command is refused."""
    cli = customer.product.server.cli
    here = ("--workspace", customer.workspace_id)
    scopes = ("documents:read", "documents:write", "collections:write")
    options = [word for scope in scopes for word in ("--scope", scope)]
    created = cli("keys", "create", "-d", "docs job", "--expires", "90d", *options, *here, "--json")
    key = json.loads(created.stdout)
    push = ("documents", "push", str(DOCS), "--collection", "handbook", "--create-collection")

    pages = len(list(DOCS.rglob("*.md")))
    pushed = cli(*push, KEYSTEAD_TOKEN=key["token"])
    assert pages >= 30
    assert pushed.stdout == f"handbook: {pages} created, 0 updated, 0 unchanged.\n", pushed.stderr
    again = cli(*push, "--json", KEYSTEAD_TOKEN=key["token"])
    assert json.loads(again.stdout)["unchanged"] == pages

    search = ("documents", "search", "--collection", "handbook", "limit", "reached", "--json")
    results = json.loads(cli(*search, KEYSTEAD_TOKEN=key["token"]).stdout)["items"]
    assert "problems--limit-reached.md" in {document["id"] for document in results}

    def shown() -> str:
        return cli("keys", "show", key["id"], *here).stdout

    wait_until(lambda: "used by      keystead-cli/" in shown(), "the use shows")
    assert cli("keys", "revoke", key["id"], "--yes", *here).returncode == Exit.DONE
    for command in (push, search):
        refused = cli(*command, KEYSTEAD_TOKEN=key["token"])
        assert (refused.returncode, refused.stdout) == (Exit.DENIED, "")
        assert key["token"] not in refused.stderr
