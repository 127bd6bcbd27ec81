"""`keystead keys`: networks, metadata and renewal of a key, and the filters and orders of the list."""

from __future__ import annotations

import pytest

from keystead.cli.outcome import Exit
from tests.cli.conftest import Keystead, one_engine

OPTIONS = (
    *("--network", "203.0.113.0/24", "--network", "2001:db8::1"),
    *("--metadata", "customer=42", "--metadata", "note=a=b"),
    *("--renewable-until", "2030-06-01T12:00:00Z"),
)


def create(keystead: Keystead, *arguments: str) -> str:
    """Create a key. Returns its id."""
    created = keystead("keys", "create", "--description", "sync", "--json", *arguments)
    assert created.code == Exit.DONE, created.err
    id: str = created.json["id"]
    return id


def test_a_key_is_created_and_changed_with_its_options(keystead: Keystead) -> None:
    """Each option is repeatable or single as its member is; `show` prints them; changes leave the others."""
    id = create(keystead, *OPTIONS)
    key = keystead("keys", "show", id, "--json").json
    assert key["networks"] == ["203.0.113.0/24", "2001:db8::1/128"]
    assert key["metadata"] == {"customer": "42", "note": "a=b"}
    assert key["renewal"] == {"until": "2030-06-01T12:00:00Z"}
    shown = keystead("keys", "show", id).out
    for text in ("203.0.113.0/24 2001:db8::1/128", "customer=42  note=a=b", "until 2030-06-01"):
        assert text in shown
    changes = ("--network", "10.0.0.0/8", "--metadata", "team=it", "--remove-metadata", "note")
    key = keystead("keys", "update", id, *changes, "--renewable-until", "never", "--json").json
    assert key["networks"] == ["10.0.0.0/8"]
    assert key["metadata"] == {"customer": "42", "team": "it"}
    assert key["renewal"] == {"until": None}
    assert "without end" in keystead("keys", "show", id).out
    key = keystead("keys", "update", id, "--any-network", "--not-renewable", "--json").json
    assert (key["networks"], key["renewal"]) == ([], None)
    assert "anywhere" in keystead("keys", "show", id).out


@one_engine
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("create", "-d", "x", "--metadata", "customer"), "--metadata must be NAME=VALUE"),
        (
            ("create", "-d", "x", "--renewable-until", "soon"),
            "--renewable-until must be a duration",
        ),
        (("list", "--unused-for", "30"), "--unused-for must be a duration"),
        (("list", "--unused-for", "36h"), "--unused-for must be a whole number of days"),
        (("list", "--expiring-within", "0d"), "--expiring-within must be a whole number"),
        (("list", "--expiring-within", "10000d"), "--expiring-within must be a whole number"),
        (("update", "ID", "--network", "::/0", "--any-network"), "Use either --network or"),
        (("update", "ID", "--renewable-until", "1d", "--not-renewable"), "Use either --renewable"),
        (("update", "ID"), "Nothing to update"),
    ],
)
def test_wrong_options_are_explained(
    keystead: Keystead, arguments: tuple[str, ...], message: str
) -> None:
    """A usage error names the option, before anything is asked of a server."""
    id = "key_02tcRIyrxLXTR81B3dqdOx"
    refused = keystead("keys", *(id if each == "ID" else each for each in arguments))
    assert refused.code == Exit.USAGE
    assert message in " ".join(refused.err.split())


def test_a_malformed_block_is_named_by_its_field(keystead: Keystead) -> None:
    """What the server refuses is explained by the field and its place."""
    refused = keystead("keys", "create", "-d", "x", "--network", "10.0.0.1/8")
    assert refused.code != Exit.DONE
    assert "host bits" in refused.err


def test_the_list_is_filtered_and_sorted(keystead: Keystead) -> None:
    """Every filter and order of the API has an option."""
    brief = create(keystead, "--expires", "10d")
    late = create(keystead, "--expires", "400d")
    endless = create(keystead)

    def listed(*arguments: str) -> list[str]:
        found = keystead("keys", "list", "--json", *arguments)
        assert found.code == Exit.DONE, found.err
        return [key["id"] for key in found.json["items"]]

    assert listed() == [endless, late, brief]
    assert listed("--order", "asc") == [brief, late, endless]
    assert listed("--sort", "expires_at", "--order", "asc") == [brief, late, endless]
    assert listed("--sort", "expires_at") == [endless, late, brief]
    assert listed("--sort", "last_used_at", "--limit", "2") == [endless, late]
    assert listed("--expiring-within", "2w") == [brief]
    assert listed("--unused-for", "1d") == []
    assert listed("--created-by", "nobody") == []
    assert listed("--outside-policy") == []
