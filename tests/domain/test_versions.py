"""Versions: what If-Match fields mean, and that a version is never reused."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keystead.domain.errors import ChangedMeanwhile, InvalidRequest
from keystead.domain.versions import IfMatch, etag, first_version, require_match
from tests.support.clocks import NOON


@pytest.mark.parametrize(
    ("fields", "versions"),
    [
        (["*"], None),
        ([" * "], None),
        (['"3"'], {"3"}),
        (['"3", "4"'], {"3", "4"}),
        (['"3"', '"4"'], {"3", "4"}),
        ([', "3" ,\t,"4",'], {"3", "4"}),
        (['"a,b", "*"'], {"a,b", "*"}),
        (['""'], {""}),
        (['"\xe9"'], {"\xe9"}),
        (['W/"3"'], set()),
        (['W/"3", "4"'], {"4"}),
        ([""], set()),
    ],
)
def test_fields_are_read_as_the_standard_says(fields: list[str], versions: set[str] | None) -> None:
    """A list of tags, of which weak ones never match and empty ones are ignored (RFC 9110 section 13.1.1)."""
    assert IfMatch.parse(fields).versions == versions


@pytest.mark.parametrize(
    "text", ["3", '"3', '3"', '"3" "4"', 'w/"3"', 'W/ "3"', '*, "3"', '"a b"', '"\x00"', "**"]
)
def test_a_malformed_condition_is_refused(text: str) -> None:
    """A malformed condition is refused, so that a conditional change never becomes an unconditional one."""
    with pytest.raises(InvalidRequest):
        IfMatch.parse([text])


@pytest.mark.parametrize("version", [1, first_version(NOON)])
def test_a_condition_admits_its_version_alone(version: int) -> None:
    """A change needs the version that it was made for, or for `*` any existing one."""
    IfMatch.parse([etag(version)]).require(version)
    IfMatch.of_version(version).require(version)
    IfMatch.parse(["*"]).require(version)
    require_match(None, None)
    for if_match, exists in (
        (IfMatch.of_version(version), version + 1),
        (IfMatch.of_version(version), None),
        (IfMatch.of_version(""), version),
        (IfMatch.parse(["*"]), None),
        (IfMatch.parse([f"W/{etag(version)}"]), version),
    ):
        with pytest.raises(ChangedMeanwhile):
            if_match.require(exists)


def test_a_name_given_again_begins_with_another_version() -> None:
    """A resource with a reused name starts with a version above all of the previous one."""
    assert first_version(NOON + timedelta(seconds=1)) - first_version(NOON) == 1_000_000
