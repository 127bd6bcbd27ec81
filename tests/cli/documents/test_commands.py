"""`keystead documents` and `keystead whoami` against a real server, and against one that refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from keystead.cli.outcome import Exit
from keystead.client import Client, Problem
from keystead.wire import resources
from tests.cli.conftest import Keystead
from tests.support.postgres import wait_until
from tests.support.processes import KEYSTEAD
from tests.support.server_process import ServerProcess, serving
from tests.support.stub_server import TOKEN, StubServer, json_response, stub_server
from tests.support.terminal import at_terminal


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all of these tests; each uses a collection of its own."""
    folder = tmp_path_factory.mktemp("server")
    folder.chmod(0o700)
    with serving(f"sqlite:///{folder / 'keystead.db'}") as started:
        limits = [f"--limit={name}=unlimited" for name in ("api_keys", "collections", "documents")]
        assert started.cli("workspaces", "plan", "My workspace", "free", *limits).returncode == 0
        yield started


@pytest.fixture
def keystead(run: Keystead, server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> Keystead:
    """A runner of commands that call the server with the token of a new key."""
    monkeypatch.setenv("KEYSTEAD_URL", server.base_url)
    monkeypatch.setenv("KEYSTEAD_TOKEN", server.token())
    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two pages and a file of JSON lines."""
    pages = tmp_path / "pages"
    (pages / "guides").mkdir(parents=True)
    (pages / "README.md").write_text("# Welcome\nKeys are revoked at once.")
    (pages / "guides/deploy.md").write_text("# Deploying\nBehind a gateway.")
    (pages / "more.jsonl").write_text('{"id": "faq", "text": "Questions about gateways"}\n')
    return pages


def test_a_folder_is_pushed_and_found(keystead: Keystead, folder: Path) -> None:
    """Created, then unchanged, then only one updated; each is found by its words, in the shape of the API."""
    push = ("documents", "push", str(folder), "--collection", "found")
    missing = keystead(*push)
    assert missing.code == Exit.REFUSED
    assert "--create-collection" in missing.err
    first = keystead(*push, "--create-collection")
    assert (first.code, first.out) == (Exit.DONE, "found: 3 created, 0 updated, 0 unchanged.\n")
    assert keystead(*push).out == "found: 0 created, 0 updated, 3 unchanged.\n"
    (folder / "README.md").write_text("# Welcome back\nKeys are revoked at once.")
    again = keystead(*push, "--json").json
    counts = {"created": 0, "updated": 1, "unchanged": 2, "deleted": 0}
    assert again == {"collection": "found", **counts, "refused": []}
    search = ("documents", "search", "--collection", "found")
    results = keystead(*search, "gatew", "--json")
    listed = TypeAdapter(resources.SearchResults).validate_json(results.out)
    assert {document.id for document in listed.items} == {"guides--deploy.md", "faq"}
    lines = keystead(*search, "revoked", "at", "once").out.splitlines()
    assert lines[1].split("  ")[:2] == ["README.md", "Welcome back"]
    assert keystead(*search, "nowhere").out.count("\n") == 1


def test_invalid_files_are_reported_and_the_rest_is_pushed(
    keystead: Keystead, folder: Path
) -> None:
    """The exit code reports a failure and a line for each file the reason; all other files are pushed."""
    (folder / "binary.md").write_bytes(b"\0")
    (folder / "bad.jsonl").write_text('{"id": "no text"}\n{"id": "good", "text": "x"}\n')
    push = ("documents", "push", str(folder), "--collection", "partly", "--create-collection")
    pushed = keystead(*push)
    assert pushed.code == Exit.REFUSED
    assert pushed.out == "partly: 4 created, 0 updated, 0 unchanged, 2 refused.\n"
    *reports, next_ = pushed.err.splitlines()
    assert sorted(line.split(": ")[0] for line in reports) == [
        f"{folder}/bad.jsonl:1",
        f"{folder}/binary.md",
    ]
    assert "then run the command again: it pushes what is new." in next_
    as_json = keystead(*push, "--json")
    assert as_json.code == Exit.REFUSED
    assert len(as_json.json["refused"]) == 2
    assert as_json.err == ""


def test_missing_documents_go_only_on_demand(keystead: Keystead, folder: Path) -> None:
    """A plain push deletes nothing; --delete-missing does, with a message; and never if a file was refused."""
    push = ("documents", "push", str(folder), "--collection", "sync", "--create-collection")
    keystead(*push)
    (folder / "README.md").unlink()
    assert keystead(*push).out == "sync: 0 created, 0 updated, 2 unchanged.\n"
    unasked = keystead(*push, "--delete-missing")
    assert unasked.code == Exit.USAGE
    assert unasked.err == (
        "keystead: This deletes 1 document of sync not in this push. Pass --yes to confirm.\n"
    )
    (folder / "bad.md").write_bytes(b"\0")
    partly = keystead(*push, "--delete-missing", "--yes")
    assert partly.code == Exit.REFUSED
    assert "1 document could not be pushed. Nothing was deleted." in partly.err
    assert "--exclude" in partly.err
    assert "then deletes what is missing or excluded" in partly.err
    assert keystead("documents", "search", "--collection", "sync", "welcome", "--json").json[
        "items"
    ]
    result = keystead(*push, "--delete-missing", "--yes", "--exclude", "bad.md")
    assert (result.code, result.out) == (
        Exit.DONE,
        "sync: 0 created, 0 updated, 2 unchanged, 1 deleted.\n",
    )
    assert "Excluded 1 file or folder." in result.err
    assert not keystead("documents", "search", "-c", "sync", "welcome", "--json").json["items"]


def test_a_single_file_never_deletes_the_rest(
    run: Keystead, refusing: StubServer, folder: Path
) -> None:
    """With a file, everything else would be deleted: --delete-missing requires folders, with a root or without."""
    for more in ((), ("--root", str(folder)), (str(folder),)):
        push = ("documents", "push", str(folder / "README.md"), *more, "-c", "x")
        ended = run(*push, "--delete-missing", "--yes")
        assert ended.code == Exit.USAGE
        assert "README.md would be deleted" in ended.err
    assert not refusing.requests


def test_a_part_of_the_root_never_deletes_the_rest(
    run: Keystead, refusing: StubServer, folder: Path
) -> None:
    """With one of the root's folders, everything else would be deleted: --delete-missing requires the root itself."""
    push = ("documents", "push", "-c", "x", "--root", str(folder), "--delete-missing", "--yes")
    ended = run(*push, str(folder / "guides"))
    assert ended.code == Exit.USAGE
    assert f"name {folder} itself" in ended.err
    assert not refusing.requests
    assert run(*push, str(folder), str(folder / "guides"), "--dry-run").code == Exit.DONE


def test_a_push_of_nothing_deletes_nothing(keystead: Keystead, folder: Path) -> None:
    """An empty file, or patterns that exclude everything, are a mistake, not a request to delete all."""
    push = ("documents", "push", str(folder), "-c", "slip", "--create-collection")
    assert keystead(*push).code == Exit.DONE
    excluded = keystead(*push, "--delete-missing", "--yes", "--exclude", "**")
    assert (excluded.code, excluded.out) == (Exit.REFUSED, "")
    assert "Everything there is excluded" in excluded.err
    lines = folder / "guides" / "lines"
    lines.mkdir()
    (lines / "empty.jsonl").write_text("")
    empty = keystead("documents", "push", str(lines), *push[3:], "--delete-missing", "--yes")
    assert empty.code == Exit.REFUSED
    assert "Nothing was deleted" in empty.err
    assert keystead(*push).out == "slip: 0 created, 0 updated, 3 unchanged.\n"


def test_an_unknown_encoding_is_wrong_usage(run: Keystead, folder: Path) -> None:
    """The error is one line, before a file is read."""
    for name in ("klingon", "base64", "undefined"):
        ended = run("documents", "push", str(folder), "-c", "x", "--dry-run", "--encoding", name)
        assert (ended.code, ended.err.count("\n")) == (Exit.USAGE, 1)


def test_a_dry_run_calls_no_server(run: Keystead, folder: Path) -> None:
    """A dry run needs neither server nor token, and counts the documents."""
    rehearsed = run("documents", "push", str(folder), "--collection", "x", "--dry-run", "--json")
    assert rehearsed.code == Exit.DONE
    assert (rehearsed.json["documents"], rehearsed.json["batches"]) == (3, 1)
    nothing = run("documents", "push", str(folder / "guides" / ".."), "-c", "x", "--dry-run")
    assert re.fullmatch(
        r"x: 3 documents \(\d+ KiB\) would be pushed in 1 batch; 0 refused.\n", nothing.out
    )
    (folder / "empty").mkdir()
    assert run("documents", "push", str(folder / "empty"), "-c", "x").code == Exit.REFUSED
    assert run("documents", "push", "--collection", "x").code == Exit.USAGE


def test_a_revoked_key_pushes_nothing(
    keystead: Keystead, server: ServerProcess, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its key is revoked the same command ends with the exit code of a denial, and one line with the reason."""
    push = ("documents", "push", str(folder), "--collection", "ended", "--create-collection")
    assert keystead(*push).code == Exit.DONE
    key = keystead("whoami", "--json").json["key"]["id"]
    assert server.cli("keys", "revoke", key, "--yes").returncode == 0
    for command in (push, ("documents", "search", "-c", "ended", "keys"), ("whoami",)):
        denied = keystead(*command)
        assert (denied.code, denied.out) == (Exit.DENIED, "")
        assert denied.err.count("\n") == 1
    problem = json.loads(keystead(*push, "--json").err)
    assert problem["code"] == "invalid-token"
    monkeypatch.setenv("KEYSTEAD_TOKEN", server.token("documents:read"))
    refused = keystead(*push, "--json")
    assert refused.code == Exit.DENIED
    assert json.loads(refused.err)["scope"] == "documents:write"


def test_whoami_has_the_shape_of_the_api(keystead: Keystead) -> None:
    """The workspace and the key behind a token, for people and for programs."""
    whoami = TypeAdapter(resources.Whoami).validate_json(keystead("whoami", "--json").out)
    assert whoami.workspace.name == "My workspace"
    assert whoami.key.id in keystead("whoami").out


@pytest.mark.slow
def test_a_push_outlives_the_death_of_the_server(tmp_path: Path) -> None:
    """If the server is killed during a push, the push continues when it is back, or the same command does."""
    (tmp_path / "data").mkdir(mode=0o700)
    lines = (json.dumps({"id": str(number), "text": f"word{number}"}) for number in range(4_000))
    (tmp_path / "many.jsonl").write_text("\n".join(lines))
    with serving(f"sqlite:///{tmp_path / 'data' / 'keystead.db'}") as mortal:
        mortal.cli("workspaces", "plan", "My workspace", "free", "--limit", "documents=unlimited")
        token = mortal.token()
        command = [str(KEYSTEAD), "documents", "push", str(tmp_path / "many.jsonl"), "-c", "many"]
        command += ["--create-collection", "--url", mortal.base_url]
        with Client(mortal.base_url, token) as client:
            push = subprocess.Popen(command, env=os.environ | {"KEYSTEAD_TOKEN": token})
            wait_until(lambda: _is_begun(client), "the first batch is there")
            mortal.kill()
            mortal.start()
            while push.wait(60) == Exit.UNAVAILABLE:
                push = subprocess.Popen(command, env=os.environ | {"KEYSTEAD_TOKEN": token})
            assert push.returncode == Exit.DONE
            assert {document.id for document in client.documents.list("many")} == {
                str(number) for number in range(4_000)
            }


def _is_begun(client: Client) -> bool:
    try:
        return bool(client.documents.search("many", "word", limit=1).items)
    except Problem:
        return False


@pytest.fixture
def refusing(run: Keystead, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubServer]:
    """A server with the responses that a test sets."""
    with stub_server() as server:
        monkeypatch.setenv("KEYSTEAD_URL", server.url)
        monkeypatch.setenv("KEYSTEAD_TOKEN", TOKEN)
        yield server


def problem(status: int, code: str, **more: object) -> tuple[int, dict[str, str], bytes]:
    """Return a refusal."""
    body = {"title": "No", "status": status, "detail": "It is so.", "code": code} | more
    return status, {"content-type": "application/problem+json"}, json.dumps(body).encode()


def pushed(created: int) -> tuple[int, dict[str, str], bytes]:
    """Return the response to a batch."""
    return json_response({"created": created, "updated": 0, "unchanged": 0, "deleted": 0})


def ids(refusing: StubServer) -> list[list[str]]:
    """Return the IDs of each batch that arrived."""
    return [
        [document["id"] for document in json.loads(body)["upsert"]]
        for *_, body in refusing.requests
    ]


def test_what_the_server_refuses_is_reported_and_the_rest_is_pushed(
    run: Keystead, refusing: StubServer, folder: Path
) -> None:
    """Entries that the server refuses are reported and left out; the batch is sent again without them."""
    fields = [
        {"pointer": "/upsert/1/text", "detail": "is not welcome"},
        {"pointer": "/upsert/1/title", "detail": "is too bold"},
    ]
    refusing.answers = [problem(422, "invalid", errors=fields), pushed(2)]
    ended = run("documents", "push", str(folder), "--collection", "x")
    assert ended.code == Exit.REFUSED
    report = f"{folder}/more.jsonl:1: text is not welcome; title is too bold."
    assert ended.err.splitlines()[0] == report
    assert [len(batch) for batch in ids(refusing)] == [3, 2]
    assert "faq" not in ids(refusing)[1]


def test_a_narrow_gateway_gets_smaller_batches(
    run: Keystead, refusing: StubServer, folder: Path
) -> None:
    """If a proxy accepts less, halves are sent, down to one document; one that is too large itself is refused."""
    refusing.answers = [(413, {}, b"<html>"), pushed(1), (413, {}, b""), (413, {}, b""), pushed(1)]
    ended = run("documents", "push", str(folder), "--collection", "x", "--json")
    assert [len(batch) for batch in ids(refusing)] == [3, 1, 2, 1, 1]
    assert (ended.code, ended.json["created"], len(ended.json["refused"])) == (Exit.REFUSED, 2, 1)


def test_what_was_pushed_before_a_failure_is_reported(
    run: Keystead, refusing: StubServer, tmp_path: Path
) -> None:
    """If the limit is reached half way, the count so far is on standard output and the reason on standard error."""
    lines = (json.dumps({"id": str(number), "text": ""}) for number in range(1_200))
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    refusing.answers = [pushed(1_000), problem(409, "limit-reached", limit=1_000)]
    ended = run("documents", "push", str(tmp_path / "x.jsonl"), "--collection", "x")
    assert ended.code == Exit.REFUSED
    assert ended.out == "x: 1,000 created, 0 updated, 0 unchanged.\n"
    assert ended.err.splitlines()[-1] == "keystead: It is so."


def test_a_person_sees_how_far_a_push_is(refusing: StubServer, folder: Path) -> None:
    """A terminal shows a progress bar; refusals and the summary have lines of their own."""
    (folder / "binary.md").write_bytes(b"\0")
    refusing.answers = [pushed(3)]
    terminal = {**os.environ, "TERM": "xterm", "COLUMNS": "400"}
    code, shown = at_terminal(terminal, "", "documents", "push", str(folder), "-c", "x")
    assert code == Exit.REFUSED
    assert "Pushing" in shown
    assert f"{folder}/binary.md: is binary.\r\n" in shown
    assert "x: 3 created, 0 updated, 0 unchanged, 1 refused.\r\n" in shown


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (problem(401, "invalid-token"), Exit.DENIED),
        (problem(403, "insufficient-scope"), Exit.DENIED),
        (problem(404, "not-found"), Exit.REFUSED),
        (problem(409, "limit-reached"), Exit.REFUSED),
        (problem(500, "internal"), Exit.UNAVAILABLE),
        (problem(507, "disk-full"), Exit.UNAVAILABLE),
        ((200, {"content-type": "text/html"}, b"<html>"), Exit.UNAVAILABLE),
        ((301, {"location": "https://elsewhere.example/"}, b""), Exit.UNAVAILABLE),
    ],
    ids=lambda value: str(value)[:24],
)
def test_every_refusal_has_its_exit_code(
    run: Keystead, refusing: StubServer, answer: tuple[int, dict[str, str], bytes], code: Exit
) -> None:
    """Denied, refused and unavailable have their own exit codes; one line, without the token."""
    refusing.answers = [answer]
    ended = run("documents", "search", "--collection", "x", "word")
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.count("\n") == 1
    assert TOKEN not in ended.err


def test_hostile_responses_are_harmless_on_a_terminal(run: Keystead, refusing: StubServer) -> None:
    """Titles, snippets and refusals full of escapes are shown as text."""
    item: dict[str, object] = {"id": "a", "title": "\x1b[2J\u202e", "url": None, "attributes": {}}
    item |= {"created_at": "2026-11-23T00:00:00Z", "updated_at": "2026-11-23T00:00:00Z"}
    item["snippet"] = "\x1b[2J\u202e"
    refusing.answers = [
        json_response({"items": [item], "next_cursor": None, "total": 2, "total_exact": False}),
        problem(409, "x", detail="\x1b[2J", **{"\x1b": "\x1b"}),
    ]
    search = ("documents", "search", "--collection", "x", "word")
    for ended in (run(*search), run(*search)):
        assert "\x1b" not in ended.out + ended.err
        assert "\u202e" not in ended.out


def test_an_unsafe_or_missing_token_sends_nothing(
    run: Keystead, refusing: StubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No token, a readable file, half a token, plain http to the network: refused before a byte is sent."""
    search = ("documents", "search", "--collection", "x", "word")
    far = run(*search, "--url", "http://keys.example.com")
    assert (far.code, "https" in far.err) == (Exit.USAGE, True)
    monkeypatch.setenv("KEYSTEAD_TOKEN", TOKEN[:-1])
    assert run(*search).code == Exit.DENIED
    monkeypatch.delenv("KEYSTEAD_TOKEN")
    assert run(*search).code == Exit.DENIED
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o644)
    assert run(*search, "--token-file", str(file)).code == Exit.DENIED
    assert refusing.requests == []
    file.chmod(0o600)
    nothing: dict[str, object] = {"items": [], "next_cursor": None, "total": 0, "total_exact": True}
    refusing.answers = [json_response(nothing)]
    assert run(*search, "--token-file", str(file)).code == Exit.DONE
