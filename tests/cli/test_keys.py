"""`keystead keys` on the installation's own database: its output and its effects."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import TypeAdapter

from keystead.bootstrap import Installation
from keystead.cli.outcome import Exit
from keystead.domain.events import EventType
from keystead.domain.instants import parse_instant
from keystead.domain.verification import Denied, Verification, Verified
from keystead.wire import resources
from tests.cli.conftest import CommandResult, Keystead, one_engine


def verify(installation: Installation, token: str, scope: str | None = None) -> Verification:
    """Return the server's verification of a token."""
    return installation.services.verifier.verify(token, scope)


def create(keystead: Keystead, *arguments: str) -> tuple[str, str]:
    """Create a key and return its ID and token."""
    created = keystead("keys", "create", "--description", "sync", "--json", *arguments)
    assert created.code == Exit.DONE, created.err
    return created.json["id"], created.json["token"]


def test_the_token_is_alone_on_standard_output(
    keystead: Keystead, installation: Installation
) -> None:
    """A pipe gets the token and a newline; the information for people is on standard error, without the token."""
    created = keystead("keys", "create", "-d", "data-warehouse sync", "--expires", "90d")
    assert created.code == Exit.DONE
    token = created.out.removesuffix("\n")
    assert isinstance(verify(installation, token, "documents:write"), Verified)
    assert token not in created.err
    assert "data-warehouse sync" in created.err
    assert "expires" in created.err


def test_json_has_the_shapes_of_the_api(keystead: Keystead) -> None:
    """Create, show, list, update, rotate and revoke print exactly the API's response, as one document."""
    id, _ = create(keystead)
    TypeAdapter(resources.Key).validate_json(keystead("keys", "show", id, "--json").out)
    listed = TypeAdapter(resources.KeyList).validate_json(keystead("keys", "list", "--json").out)
    assert (listed.quota.limit, listed.quota.used) == (5, 1)
    changed = keystead("keys", "update", id, "-d", "another", "--json")
    assert TypeAdapter(resources.Key).validate_json(changed.out).description == "another"
    rotated = keystead("keys", "rotate", id, "--json")
    new = TypeAdapter(resources.CreatedKey).validate_json(rotated.out)
    ended = keystead("keys", "revoke", new.id, "--yes", "--json")
    assert TypeAdapter(resources.Key).validate_json(ended.out).status == "revoked"
    assert changed.err == rotated.err == ended.err == ""


@one_engine
def test_the_account_that_ran_the_command_is_on_record(
    keystead: Keystead, installation: Installation
) -> None:
    """A key created here names the operator's account as its creator, and so does its event."""
    created = keystead("keys", "create", "-d", "x", "--json").json
    assert created["created_by"]["type"] == "operator"
    assert created["created_by"]["name"] != ""
    events = keystead("events", "list", "--type", "key.created", "--json").json["items"]
    assert events[0]["actor"] == created["created_by"]


@one_engine
def test_a_duration_counts_from_now(keystead: Keystead) -> None:
    """The expiry is the duration after the creation, to the second."""
    created = keystead("keys", "create", "-d", "x", "--expires", "36h", "--json").json
    end, begin = parse_instant(created["expires_at"]), parse_instant(created["created_at"])
    assert timedelta() <= begin + timedelta(hours=36) - end < timedelta(seconds=2)


@one_engine
def test_a_time_is_exact_and_never_means_never(keystead: Keystead) -> None:
    """A time with any offset, `never`, and no option at all mean exactly that."""
    created = keystead(
        "keys", "create", "-d", "x", "--expires", "2031-02-28T12:00:00+02:00", "--json"
    )
    assert created.json["expires_at"] == "2031-02-28T10:00:00Z"
    for arguments in (["--expires", "never"], []):
        created = keystead("keys", "create", "-d", "x", *arguments, "--json")
        assert created.json["expires_at"] is None


UNREADABLE = ("", "9", "-1d", "soon", "0d", "2020-01-01T00:00:00Z", "2031-02-29T00:00:00Z", "NaN")


@one_engine
def test_an_invalid_expiry_creates_no_key(keystead: Keystead) -> None:
    """A wrong or past expiry is refused in one line; no key without expiry is created instead."""
    for text in UNREADABLE:
        refused = keystead("keys", "create", "-d", "x", f"--expires={text}")
        assert refused.code in {Exit.USAGE, Exit.REFUSED}, text
        assert refused.out == ""
        assert refused.err.count("\n") == 1
    assert keystead("keys", "list", "--json").json["items"] == []


@one_engine
def test_scopes_are_named_one_by_one(keystead: Keystead, installation: Installation) -> None:
    """A key has the named scopes and no others; the message about an unknown one says which it is."""
    _, token = create(keystead, "--scope", "documents:read", "--scope", "keys:read")
    assert isinstance(verify(installation, token, "documents:read"), Verified)
    assert isinstance(verify(installation, token, "documents:write"), Denied)
    refused = keystead(
        "keys", "create", "-d", "x", "--scope", "documents:read", "--scope", "documents:eat"
    )
    assert (refused.code, refused.err) == (
        Exit.REFUSED,
        "keystead: Scope 2 is not a known scope.\n",
    )


def test_a_list_can_be_narrowed_and_continued(keystead: Keystead) -> None:
    """Status, text and size filter the list; the cursor of one page starts the next."""
    ids = [create(keystead)[0] for _ in range(3)]
    keystead("keys", "revoke", ids[0], "--yes")
    listed = keystead("keys", "list", "--json").json
    assert [key["id"] for key in listed["items"]] == ids[::-1]
    first = keystead("keys", "list", "--limit", "2", "--json").json
    assert [key["id"] for key in first["items"]] == ids[:0:-1]
    rest = keystead("keys", "list", "--cursor", first["next_cursor"], "--json").json
    assert [key["id"] for key in rest["items"]] == ids[:1]
    assert rest["next_cursor"] is None
    active = keystead("keys", "list", "--status", "active", "--json").json["items"]
    assert [key["id"] for key in active] == ids[:0:-1]
    assert keystead("keys", "list", "--query", "warehouse", "--json").json["items"] == []
    assert keystead("keys", "list", "--limit", "0").code == Exit.USAGE


@one_engine
def test_a_list_in_a_pipe_is_aligned_text(keystead: Keystead) -> None:
    """One line for each key below the headings, in aligned columns, without borders."""
    keystead("keys", "create", "-d", "short")
    keystead("keys", "create", "-d", "a longer description, with 漢字", "--expires", "90d")
    listed = keystead("keys", "list")
    heading, *lines = listed.out.splitlines()
    assert len(lines) == 2
    place = heading.index("STATUS")
    assert lines[1][place:].startswith("active")
    assert lines[0][place - 2 :].startswith("active")
    assert "2 active (of 5)" in listed.err


def test_a_key_is_changed(keystead: Keystead, installation: Installation) -> None:
    """Description, expiry and scopes, each alone: the others and the token are unchanged."""
    id, token = create(keystead)
    before = keystead("keys", "show", id, "--json").json
    for words, changes in (
        (("--description", "renamed"), {"description": "renamed"}),
        (("--scope", "documents:read"), {"scopes": ["documents:read"]}),
        (("--expires", "2099-01-31T00:00:00Z"), {"expires_at": "2099-01-31T00:00:00Z"}),
        (("--expires", "never"), {"expires_at": None}),
    ):
        changed = keystead("keys", "update", id, *words)
        assert (changed.code, changed.out) == (Exit.DONE, "")
        assert id in changed.err
        before |= changes
        assert keystead("keys", "show", id, "--json").json == before
    assert isinstance(verify(installation, token, "documents:read"), Verified)
    assert isinstance(verify(installation, token, "documents:write"), Denied)


@one_engine
def test_what_a_key_cannot_become(keystead: Keystead) -> None:
    """An empty change is wrong usage; an unknown scope, wider scopes and a second life are refused."""
    id, _ = create(keystead)
    assert keystead("keys", "update", id).code == Exit.USAGE
    assert keystead("keys", "update", id, "--scope", "nonsense:read").code == Exit.REFUSED
    assert keystead("keys", "update", id, "--expires", "soon").code == Exit.USAGE
    assert keystead("keys", "update", id, "-d", " ").code == Exit.REFUSED
    assert keystead("keys", "update", id, "--scope", "plan:read").code == Exit.DONE
    wider = keystead("keys", "update", id, "--scope", "*", "--json")
    assert wider.code == Exit.DENIED
    assert keystead("keys", "show", id, "--json").json["scopes"] == ["plan:read"]
    keystead("keys", "revoke", id, "--yes")
    ended = keystead("keys", "update", id, "--expires", "never", "--json")
    assert json.loads(ended.err)["code"] == "key-revoked"


def test_both_tokens_work_during_the_overlap(
    keystead: Keystead, installation: Installation
) -> None:
    """Both tokens work during the overlap, which ends as requested."""
    id, old = create(keystead)
    rotated = keystead("keys", "rotate", id, "--overlap", "24h")
    new = rotated.out.removesuffix("\n")
    assert isinstance(verify(installation, old), Verified)
    assert isinstance(verify(installation, new), Verified)
    assert new not in rotated.err
    end = parse_instant(keystead("keys", "show", id, "--json").json["expires_at"])
    assert abs(end - datetime.now(UTC) - timedelta(hours=24)) < timedelta(minutes=5)


def test_rotation_without_overlap_ends_the_old_key(
    keystead: Keystead, installation: Installation
) -> None:
    """Without an overlap the old token is refused as soon as the new one is printed."""
    id, old = create(keystead)
    keystead("keys", "rotate", id)
    assert isinstance(verify(installation, old), Denied)
    assert keystead("keys", "rotate", id).code == Exit.REFUSED
    for overlap in ("8d", "1", "-1h"):
        assert keystead("keys", "rotate", id, f"--overlap={overlap}").code != Exit.DONE


@one_engine
def test_revoking_in_a_script_needs_yes(keystead: Keystead, installation: Installation) -> None:
    """Without a terminal, --yes is required to revoke; the message says so."""
    id, token = create(keystead)
    refused = keystead("keys", "revoke", id)
    assert refused.code == Exit.USAGE
    assert "--yes" in refused.err
    assert isinstance(verify(installation, token), Verified)


def test_a_revoked_key_stays_revoked(keystead: Keystead, installation: Installation) -> None:
    """With --yes the token is refused immediately; repeating it succeeds without a second event."""
    id, token = create(keystead)
    for _ in range(2):
        assert keystead("keys", "revoke", id, "--yes").code == Exit.DONE
        assert isinstance(verify(installation, token), Denied)
    events = keystead("events", "list", "--type", EventType.KEY_REVOKED, "--json").json
    assert len(events["items"]) == 1


def test_with_several_workspaces_one_is_named(
    keystead: Keystead, installation: Installation
) -> None:
    """It is named by ID or by name; without one it is wrong usage; a key of another workspace is not found."""
    other = installation.services.workspaces.create("Other")
    refused = keystead("keys", "create", "-d", "x")
    assert (refused.code, refused.out) == (Exit.USAGE, "")
    id, _ = create(keystead, "--workspace", "Acme")
    assert len(keystead("keys", "list", "-w", "Acme", "--json").json["items"]) == 1
    assert keystead("keys", "list", "-w", other.id, "--json").json["items"] == []
    for arguments in (
        ["show", id],
        ["revoke", id, "--yes"],
        ["rotate", id],
        ["update", id, "-d", "x"],
    ):
        assert keystead("keys", *arguments, "-w", other.id).code == Exit.REFUSED
    assert keystead("keys", "list", "-w", "Nobody").code == Exit.REFUSED


@one_engine
def test_a_token_as_argument_is_refused(keystead: Keystead, installation: Installation) -> None:
    """A token instead of an ID is refused and not repeated; the message names its key's ID, to revoke it."""
    id, token = create(keystead)
    for command, *options in (["show"], ["revoke", "--yes"], ["rotate"], ["update", "-d", "x"]):
        refused = keystead("keys", command, token, *options)
        assert refused.code == Exit.USAGE
        assert token not in refused.out + refused.err
        assert id in refused.err
        assert keystead("keys", command, "nonsense", *options).code == Exit.USAGE
        assert keystead("keys", command, "key_" + 22 * "0", *options).code == Exit.REFUSED
    assert isinstance(verify(installation, token), Verified)
    stray = keystead("keys", "list", token)
    assert stray.code == Exit.USAGE
    assert token not in stray.out + stray.err


@one_engine
def test_a_full_plan_names_the_safest_keys_to_revoke(keystead: Keystead) -> None:
    """At the limit no key is created; the safest keys to revoke are named, and in JSON the problem is complete."""
    ids = {create(keystead)[0] for _ in range(5)}
    refused = keystead("keys", "create", "-d", "one more")
    assert (refused.code, refused.out) == (Exit.REFUSED, "")
    assert {line.split(":")[0] for line in refused.err.splitlines()[:-1]} == ids
    problem = json.loads(keystead("keys", "create", "-d", "one more", "--json").err)
    assert (problem["code"], problem["limit"], problem["used"]) == ("limit-reached", 5, 5)
    assert {candidate["id"] for candidate in problem["candidates"]} == ids


ESCAPE = "\x1b]0;owned\x07\x1b[2J"
TURNED = "report\u202egpj.exe"


@one_engine
def test_foreign_text_is_harmless_on_a_terminal(
    keystead: Keystead, installation: Installation
) -> None:
    """An agent full of escapes, and a description that reverses the line, are shown as text."""
    id, token = create(keystead)
    installation.services.verifier.verify(token, address="127.0.0.1", agent=ESCAPE)
    installation.services.usage.flush()
    keystead("keys", "create", "-d", TURNED)
    shown = [keystead("keys", "show", id), keystead("keys", "list"), keystead("events", "list")]
    shown += [keystead("keys", "show", id, "--json"), keystead("keys", "list", "--json")]
    for ended in shown:
        assert not {"\x1b", "\x07", "\u202e"} & set(ended.out + ended.err)
    assert "owned" in shown[0].out
    assert "report\\u202egpj.exe" in shown[1].out
    assert "owned" in shown[3].json["last_used_agent"]


@one_engine
def test_a_description_with_escapes_is_refused(keystead: Keystead) -> None:
    """Control characters do not get into a description, and the refusal does not repeat them."""
    refused: CommandResult = keystead("keys", "create", "-d", ESCAPE)
    assert refused.code == Exit.REFUSED
    assert "\x1b" not in refused.err


def test_a_rate_limit_of_its_own(keystead: Keystead, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is set, shown and removed; without an option nothing changes."""
    id, _ = create(keystead)
    shown = keystead("keys", "rate-limit", id)
    assert (shown.out, shown.err) == ("unlimited\n", "")
    off = keystead("keys", "rate-limit", id, "--per-minute", "60")
    assert off.out == "60 per minute (its own)\n"
    assert "Rate limits are off" in off.err
    monkeypatch.setenv("KEYSTEAD_RATE_LIMITS", "memory")
    assert keystead("keys", "rate-limit", id, "--per-minute", "60").err == ""
    limit = keystead("keys", "rate-limit", id, "--json").json
    assert (limit["per_minute"], limit["effective"]["key_per_minute"]) == (60, 60)
    assert keystead("keys", "rate-limit", id, "--none").out == "unlimited\n"
    assert keystead("keys", "rate-limit", id, "--none", "--per-minute", "1").code == Exit.USAGE
    assert keystead("keys", "rate-limit", id, "--per-minute", "0").code == Exit.REFUSED
