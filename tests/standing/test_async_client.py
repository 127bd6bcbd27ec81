"""The asynchronous half of the SDK is what the script makes of the synchronous half."""

from __future__ import annotations

from scripts.async_client import TARGET, generate


def test_the_asynchronous_half_is_up_to_date() -> None:
    """Each generated file is committed as it is generated, and the folder contains no other."""
    committed = {path.name: path.read_text() for path in TARGET.glob("*.py")}
    assert committed == generate(), "run `make async-client`"
