"""Commands with --url and a token: the same effects and output as on the server's own database."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keystead.cli.outcome import Exit
from keystead.domain.credentials import CredentialKind
from tests.cli.conftest import CommandResult, Keystead
from tests.support.postgres import wait_until
from tests.support.server_process import ServerProcess, serving
from tests.support.stub_server import TOKEN, stub_server
from tests.support.terminal import at_terminal

FIRST = ("--workspace", "My workspace")
"""The workspace of the server's tokens; other tests create more."""

SCOPES = {"KEYSTEAD_SCOPES": json.dumps({"invoices:read": "Read invoices"})}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server over SQLite, of a product with a scope of its own."""
    place = f"sqlite:///{tmp_path_factory.mktemp('remote') / 'keystead.db'}"
    with serving(place, environment=SCOPES) as server:
        server.put_on("scale")
        yield server


class Remote:
    """A runner of commands in this process: with `--url`, or on the server's own database."""

    def __init__(self, run: Keystead, server: ServerProcess, patch: pytest.MonkeyPatch) -> None:
        self.server, self._run, self._patch = server, run, patch

    def __call__(self, *words: str, token: str | None = None) -> CommandResult:
        """Run a command with `--url`, with that token in the environment."""
        with self._patch.context() as patch:
            if token is not None:
                patch.setenv("KEYSTEAD_TOKEN", token)
            return self._run(*words, "--url", self.server.base_url)

    def here(self, *words: str) -> CommandResult:
        """Run a command on the server's own database, which KEYSTEAD_URL does not affect."""
        with self._patch.context() as patch:
            for name, value in SCOPES.items():
                patch.setenv(name, value)
            patch.setenv("KEYSTEAD_URL", "http://127.0.0.1:1")
            database = ("--database", self.server.database_url)
            return self._run(*words, "--data", str(self.server.data), *database)

    def credential(self, kind: str = "operator") -> str:
        """Create a credential and return its token."""
        return self.here("credentials", "create", "tests", "--kind", kind).out.strip()


@pytest.fixture
def remote(run: Keystead, server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> Remote:
    """A runner of commands for that server."""
    return Remote(run, server, monkeypatch)


def test_both_say_the_same(remote: Remote) -> None:
    """Lists and single resources, as JSON and for people: the server's output equals the database's."""
    key, operator = remote.server.token(description="same"), remote.credential()
    id = re.sub(r"ks_(\w{22})_.*", r"key_\1", key)
    (workspace,) = remote.here("workspaces", "list", "--query", "my work", "--json").json["items"]
    commands = {
        ("keys", "list", "--query", "same"): key,
        ("keys", "list", "--status", "revoked"): key,
        ("keys", "show", id): key,
        ("events", "list", "--type", "key.created"): key,
        ("workspaces", "list"): operator,
        ("workspaces", "show", workspace["id"]): operator,
        ("workspaces", "show", workspace["name"]): operator,
        ("plans", "list"): operator,
    }
    remote("keys", "list", token=key)
    remote.here("keys", "list", *FIRST)
    for words, token in commands.items():
        for form in ((), ("--json",)):
            of = FIRST if words[0] in {"keys", "events"} else ()
            there, here = remote(*words, *form, token=token), remote.here(*words, *of, *form)
            assert (there.code, here.code) == (0, 0), there.err + here.err
            assert without_use(there.out) == without_use(here.out), words
            assert there.err == here.err


def without_use(text: str) -> str:
    """Return the output without the last use of the calling key, and without cursors."""
    text = re.sub(r'"last_used_(at|ip|agent)": .*', "", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC *$", "never", text, flags=re.MULTILINE)
    text = re.sub(r"^(last used|used from|used by) .*", r"\1", text, flags=re.MULTILINE)
    return re.sub(r'"next_cursor": .*', "", text)


def test_a_key_lives_and_ends_at_a_server(remote: Remote) -> None:
    """Created, shown once, changed, rotated, revoked, with another key's token: only a new token is on stdout."""
    own = remote.server.token()
    created = remote("keys", "create", "-d", "far", "--expires", "90d", token=own)
    token = created.out.removesuffix("\n")
    assert (created.code, token.startswith("ks_"), token in created.err) == (0, True, False)
    assert remote("whoami", "--json", token=token).json["key"]["description"] == "far"
    id = remote("whoami", "--json", token=token).json["key"]["id"]
    assert remote("whoami", token=token).err == ""
    soon = remote("keys", "create", "-d", "short", "--expires", "3d", token=own).out.strip()
    assert re.search(r"^This key expires 2\S+ .* Rotate it", remote("plan", token=soon).err)
    words = ("--description", "farther", "--expires", "60d", "--scope", "plan:read")
    changed = remote("keys", "update", id, *words, "--json", token=own).json
    assert (changed["description"], changed["scopes"]) == ("farther", ["plan:read"])
    shown = remote("keys", "show", id, "--json", token=own).json
    for name in ("last_used_at", "last_used_ip", "last_used_agent"):  # written later, in its batch
        del changed[name], shown[name]
    assert changed == shown
    renamed = remote("keys", "update", id, "-d", "far", token=own)
    assert (renamed.code, renamed.out) == (Exit.DONE, "")
    assert "far" in renamed.err
    wider = remote("keys", "update", id, "--scope", "*", "--json", token=own)
    assert wider.code != Exit.DONE
    turned = remote("keys", "rotate", id, "--overlap", "24h", token=own)
    assert "works until" in turned.err
    successor = turned.out.strip()
    assert remote("keys", "revoke", id, token=own).code == Exit.USAGE
    ended = remote("keys", "revoke", id, "--yes", "--json", token=own).json
    assert ended["status"] == "revoked"
    assert remote("whoami", token=token).code == Exit.DENIED
    assert remote("whoami", token=successor).code == Exit.DONE


def test_a_key_may_end_itself(remote: Remote) -> None:
    """A key without scopes for keys revokes itself: the message says so, though it can no longer read itself."""
    token = remote.server.token("documents:read")
    id = remote("whoami", "--json", token=token).json["key"]["id"]
    ended = remote("keys", "revoke", id, "--yes", token=token)
    assert (ended.code, ended.err) == (Exit.DONE, f"Revoked {id}.\n")
    assert remote("whoami", token=token).code == Exit.DENIED


def test_a_full_plan_names_what_to_revoke(remote: Remote) -> None:
    """At the limit the message is that of the local command: the keys that are safest to revoke."""
    operator = remote.credential()
    workspace = remote("workspaces", "create", "Small", token=operator).out.strip()
    words = ("--workspace", workspace)
    token = remote.here(
        "keys", "create", "-d", "own", "--scope", "*", "--scope", "keys:write", *words
    ).out.strip()
    for number in range(4):
        assert remote("keys", "create", "-d", f"no. {number}", token=token).code == Exit.DONE
    own = ("keys", "list", "--query", "own", "--json", *words)
    wait_until(
        lambda: remote.here(*own).json["items"][0]["last_used_at"] is not None,
        "the use of the asking key, which puts it last, is written",
    )
    full, here = (
        remote("keys", "create", "-d", "x", token=token),
        remote.here("keys", "create", "-d", "x", *words),
    )
    assert (full.code, without_last_use(full.err)) == (Exit.REFUSED, without_last_use(here.err))
    assert '"no. 0"' in full.err
    refused = json.loads(remote("keys", "create", "-d", "x", "--json", token=token).err)
    assert (refused["code"], refused["limit"]) == ("limit-reached", 5)


def without_last_use(text: str) -> str:
    """Return the message without the last use of the calling key."""
    return re.sub(r"last used \S+", "", text)


def test_an_operator_sees_to_tenants_from_anywhere(remote: Remote) -> None:
    """Create, find, put on a plan, suspend, resume: by ID or by name, with an operator's credential."""
    operator = remote.credential()
    created = remote("workspaces", "create", "Far Ltd", "--plan", "team", token=operator)
    assert created.out.startswith("ws_")
    workspaces = remote("workspaces", "list", "--query", "far l", "--json", token=operator).json
    assert [workspace["id"] for workspace in workspaces["items"]] == [created.out.strip()]
    on = remote("workspaces", "plan", "Far Ltd", "free", "--limit", "api_keys=9", token=operator)
    assert re.search(r"^api keys +0 of 9 \(its own\)$", on.out, re.MULTILINE)
    shown = remote("workspaces", "suspend", "Far Ltd", "--json", token=operator).json
    assert shown["suspended_at"] is not None
    assert remote("workspaces", "resume", "Far Ltd", token=operator).code == Exit.DONE
    (event, *_) = remote.here("events", "list", "-w", "Far Ltd", "--json").json["items"]
    assert (event["type"], event["actor"]["name"]) == ("workspace.resumed", "tests")
    assert remote("workspaces", "show", "No such", token=operator).code == Exit.REFUSED


def test_each_kind_of_token_has_its_own_commands(remote: Remote) -> None:
    """A key, an operator's credential and a service's don't replace one another: the message names the needed one."""
    key, operator, service = (
        remote.server.token(),
        remote.credential(),
        remote.credential("service"),
    )
    for words in (("workspaces", "list"), ("plans", "list")):
        results = [remote(*words, token=token) for token in (key, service)]
        assert {result.code for result in results} == {Exit.DENIED}
        assert "workspace's key, but the command needs that of an operator's" in results[0].err
    for line in ("keys list", "keys create -d x", "events list", "plan", "collections list"):
        results = [remote(*line.split(), token=token) for token in (operator, service)]
        assert {result.code for result in results} == {Exit.DENIED}
        for result, kind in zip(results, ("operator", "service"), strict=True):
            text = (
                f"This token belongs to {'an' if kind == 'operator' else 'a'} {kind}'s credential"
            )
            assert text in result.err


@pytest.mark.parametrize(
    "words",
    [
        ("keys", "list", "--data", "x"),
        ("keys", "list", "--database", "sqlite:///x"),
        ("events", "list", "--data", "x"),
        ("workspaces", "list", "--data", "x"),
        ("plans", "list", "--data", "x"),
    ],
)
def test_it_is_one_or_the_other(remote: Remote, words: tuple[str, ...]) -> None:
    """Both together, or an option of only one of them, are wrong usage, and no request is sent."""
    refused = remote(*words, token=TOKEN)
    assert (refused.code, refused.out) == (Exit.USAGE, "")
    assert re.fullmatch(r"keystead: .+\n", refused.err)


def test_a_token_file_needs_a_server(run: Keystead) -> None:
    """--token-file means nothing for a database: it is refused, not ignored."""
    refused = run("keys", "list", "--token-file", "x")
    assert refused.code == Exit.USAGE
    assert "--url" in refused.err


def test_login_keeps_a_token_for_one_server(
    remote: Remote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Read from standard input, tried, stored with mode 0600 in a private folder; used only there, until logout."""
    key, operator = remote.server.token(description="laptop"), remote.credential()
    for token in (key, operator):
        result = logged_in(remote, monkeypatch, tmp_path, token)
        assert result.code == Exit.DONE, result.err
        assert token not in result.out + result.err
    files = sorted(file for file in (tmp_path / "home/.config").rglob("*") if file.is_file())
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]
    assert stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700
    assert remote("whoami", "--json").json["key"]["description"] == "laptop"
    assert remote("keys", "list").code == remote("workspaces", "list").code == Exit.DONE
    with stub_server() as other:
        assert remote._run("whoami", "--url", other.url).code == Exit.DENIED
        assert other.requests == []
    assert remote("logout").code == Exit.DONE
    assert not any(file.exists() for file in files)
    assert remote("whoami").code == remote("workspaces", "list").code == Exit.DENIED
    assert remote("whoami", token=key).code == Exit.DONE


def logged_in(
    remote: Remote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, typed: str
) -> CommandResult:
    """Run `keystead login` with that on standard input."""
    (tmp_path / "typed").write_text(f"{typed}\n")
    with (tmp_path / "typed").open() as file, monkeypatch.context() as patch:
        patch.setattr("sys.stdin", file)
        return remote("login", "--token-stdin")


@pytest.mark.parametrize("what", ["nonsense", "unknown", "service"])
def test_login_keeps_nothing_that_does_not_work(
    remote: Remote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    """Text other than a token, an unknown token, and one that no command can use: refused, not stored."""
    service = remote.credential(CredentialKind.SERVICE.name.lower())
    typed = {"nonsense": "hunter2", "unknown": TOKEN, "service": service}[what]
    result = logged_in(remote, monkeypatch, tmp_path, typed)
    assert result.code in {Exit.DENIED, Exit.USAGE}
    assert typed not in result.err
    assert not (tmp_path / "home/.config").exists()


def test_signing_in_needs_a_terminal(remote: Remote, tmp_path: Path) -> None:
    """Without a terminal and without --token-stdin nothing is sent, and the message names both ways."""
    refused = remote("login")
    assert (refused.code, refused.out) == (Exit.USAGE, "")
    assert "--token-stdin" in refused.err
    assert not (tmp_path / "home/.config").exists()


def test_a_login_is_not_shown_as_it_is_typed(remote: Remote, tmp_path: Path) -> None:
    """At a terminal the token is asked for, and does not appear on it."""
    token = remote.server.token()
    variables = {
        name: value for name, value in os.environ.items() if not name.startswith("KEYSTEAD_")
    }
    environment = variables | {"HOME": str(tmp_path), "TERM": "xterm"}
    words = ("login", "--token-stdin", "--url", remote.server.base_url)
    code, shown = at_terminal(environment, f"{token}\n", *words, after="Token: ")
    assert code == Exit.DONE
    assert "Token: " in shown
    assert token not in shown
    assert "stored in" in shown


def test_a_product_s_own_scopes_are_known_everywhere(remote: Remote) -> None:
    """A scope of the settings can be granted and listed here and at the server, and introspection shows it."""
    tokens = [
        remote.here(
            "keys", "create", "-d", "here", "--scope", "invoices:read", *FIRST
        ).out.strip(),
        remote(
            "keys", "create", "-d", "there", "--scope", "invoices:read",
            token=remote.server.token(),
        ).out.strip(),
    ]  # fmt: skip
    for token in tokens:
        whoami = remote("whoami", "--json", token=token)
        assert whoami.code == Exit.DONE, whoami.err
        assert whoami.json["key"]["scopes"] == ["invoices:read"]
        gates = [
            remote.server.call("GET", f"/forward-auth/{scope}", token=token).status_code
            for scope in ("invoices:read", "documents:read", "any")
        ]
        assert gates == [200, 403, 200]
    unknown = remote.here("keys", "create", "-d", "x", "--scope", "bills:read", *FIRST)
    assert unknown.code == Exit.REFUSED
    refused = remote(
        "keys", "create", "-d", "x", "--scope", "bills:read", token=remote.server.token()
    )
    assert refused.code == Exit.REFUSED


def test_collections_and_the_plan(remote: Remote) -> None:
    """Created, listed, deleted with their documents only after a yes; and the plan's limits."""
    token = remote.server.token()
    assert remote("collections", "create", "far", "--title", "Far", token=token).code == Exit.DONE
    (Path.cwd() / "a.txt").write_text("words")
    assert remote("documents", "push", "a.txt", "-c", "far", token=token).code == Exit.DONE
    (listed,) = remote("collections", "list", "--json", token=token).json["items"]
    assert (listed["name"], listed["title"], listed["documents"]) == ("far", "Far", 1)
    assert "documents" in remote("plan", token=token).out
    quotas = remote("plan", "--json", token=token).json["quotas"]
    assert quotas["documents"] == {"limit": None, "used": 1}
    assert remote("collections", "delete", "far", token=token).code == Exit.REFUSED
    words = ("collections", "delete", "far", "--documents")
    assert remote(*words, token=token).code == Exit.USAGE
    assert remote(*words, "--yes", token=token).code == Exit.DONE
    assert remote("collections", "list", "--json", token=token).json["items"] == []


def test_webhooks(run: Keystead, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command is the call of its name; a secret is alone on standard output, and in no list."""
    from keystead.api.openapi.samples import sample_of
    from tests.support.described_calls import OPERATIONS, SCHEMAS

    def answer(id: str) -> tuple[int, dict[str, str], bytes]:
        status = min(OPERATIONS[id]["responses"])
        media = OPERATIONS[id]["responses"][status].get("content", {}).get("application/json")
        sample = media and sample_of(media["schema"], SCHEMAS)
        body = b"" if sample is None else json.dumps(sample).encode()
        return int(status), {"content-type": "application/json"}, body

    commands: dict[str, tuple[str, ...]] = {
        "createWebhook": ("create", "CRM", "https://example.com/", "--event", "*"),
        "rotateWebhookSecret": ("rotate", "wh_1"),
        "listWebhooks": ("list",),
        "testWebhook": ("test", "wh_1"),
        "listDeliveries": ("deliveries", "wh_1", "--status", "failed"),
        "resendDelivery": ("redeliver", "dlv_1"),
        "deleteWebhook": ("delete", "wh_1", "--yes"),
    }
    monkeypatch.setenv("KEYSTEAD_TOKEN", TOKEN)
    with stub_server() as server:
        server.answers = [answer(id) for id in commands for _ in range(2)]
        for id, words in commands.items():
            plain = run("webhooks", *words, "--url", server.url)
            assert plain.code == Exit.DONE, (id, plain.err)
            more = () if id == "deleteWebhook" else ("--json",)
            again = run("webhooks", *words, "--url", server.url, *more)
            assert again.code == Exit.DONE, (id, again.err)
            shows_secret = "whsec_" in plain.out
            assert shows_secret == (id in {"createWebhook", "rotateWebhookSecret"})
            assert not shows_secret or plain.out.count("\n") == 1
    assert len(server.requests) == 2 * len(commands)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_has_every_word(
    run: Keystead, shell: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The script has every command and its options; bash accepts it; it is installed in the shell's folder."""
    script = run("completion", shell).out
    for word in ("workspaces", "revoke", "deliveries", "--token-file", "login", "keystead"):
        assert word.removeprefix("--") in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    if shell != "bash":
        return
    installed = run("completion", shell, "--install")
    assert installed.code == Exit.DONE
    written: Any = re.search(r"Installed in (\S+)\. ", installed.err)
    assert Path(written[1]).read_text() == script
    assert str(tmp_path / "home") in written[1]
