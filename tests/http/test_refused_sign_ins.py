"""The log of refused sign-ins: each source is named, none can flood it, and its memory is bounded."""

from __future__ import annotations

from keystead.http.access_log import ADDRESSES, SAMPLE_SECONDS, _Sampler


def test_a_source_has_a_line_a_minute() -> None:
    """The first refusal is logged, the next ones are counted, and the line after a minute shows their number."""
    sampler = _Sampler()
    assert sampler.due("198.51.100.7", 0.0) == 0
    assert [sampler.due("198.51.100.7", 1.0 + n) for n in range(5)] == [None] * 5
    assert sampler.due("198.51.100.8", 2.0) == 0
    assert sampler.due("198.51.100.7", SAMPLE_SECONDS) == 5
    assert sampler.due("198.51.100.7", SAMPLE_SECONDS + 1) is None


def test_many_sources_cost_a_bounded_room() -> None:
    """A million addresses need no more memory than a thousand; the latest ones are kept."""
    sampler = _Sampler()
    for number in range(3 * ADDRESSES):
        assert sampler.due(f"2001:db8::{number:x}", 0.0) == 0
    assert len(sampler._last) == ADDRESSES
    assert sampler.due(f"2001:db8::{3 * ADDRESSES - 1:x}", 1.0) is None
