"""The trace in the log: what a valid `traceparent` names, and nothing else of what a client sent."""

from __future__ import annotations

import pytest

from keystead.http.access_log import trace_of
from keystead.http.head import Head

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{PARENT}-01"
OF_LATER = f"cc-{TRACE}-{PARENT}-01"


def logged(*fields: str) -> dict[str, str]:
    """Return what the log shows of a request with these `traceparent` fields."""
    return trace_of(Head([(b"traceparent", field.encode("latin-1")) for field in fields]))


@pytest.mark.parametrize("field", [VALID, OF_LATER, f"{OF_LATER}-what-comes-later"])
def test_a_valid_trace_is_logged(field: str) -> None:
    """Its two ids, of this version and of later ones, which may append to it."""
    assert logged(field) == {"trace_id": TRACE, "parent_id": PARENT}


@pytest.mark.parametrize(
    "field",
    [
        "",
        "00",
        VALID[:-1],
        f"{VALID}-more",
        f"{VALID}\n",
        f" {VALID}",
        VALID.upper(),
        f"ff{VALID[2:]}",
        f"{OF_LATER}0",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        VALID.replace("-", "_"),
        f"00-{TRACE[:-1]}\u00e9-{PARENT}-01",
        VALID * 500,
    ],
)
def test_anything_else_leaves_no_trace(field: str) -> None:
    """Other lengths, alphabets, versions and ids of zeros are not logged, not even in part."""
    assert logged(field) == {}


def test_two_traces_are_none() -> None:
    """A request with two fields belongs to no trace that anyone could name."""
    assert logged(VALID, VALID) == {}
    assert logged() == {}
