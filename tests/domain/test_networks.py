"""Networks of keys: canonical blocks, and the addresses that lie within them."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from random import Random

import pytest

from keystead.domain.errors import Invalid
from keystead.domain.networks import ANYWHERE, MAX_NETWORKS, Networks, parse_networks


@pytest.mark.parametrize(
    ("blocks", "canonical"),
    [
        ([], []),
        (["203.0.113.7"], ["203.0.113.7/32"]),
        (["2001:DB8::1"], ["2001:db8::1/128"]),
        (["2001:0db8:0000::/32"], ["2001:db8::/32"]),
        (["10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/16"], ["10.0.0.0/8", "10.0.0.0/16"]),
        (
            ["::/0", "9.0.0.0/8", "10.0.0.0/8", "0.0.0.0/0"],
            ["0.0.0.0/0", "9.0.0.0/8", "10.0.0.0/8", "::/0"],
        ),
        (["::1", "::1/128"], ["::1/128"]),
    ],
)
def test_blocks_are_canonical_sorted_and_each_once(blocks: list[str], canonical: list[str]) -> None:
    """Single addresses get their full length; IPv4 comes first, then addresses by number."""
    networks = parse_networks(blocks)
    assert list(networks) == canonical
    assert parse_networks(list(networks)) == networks
    assert bool(networks) is bool(canonical)


@pytest.mark.parametrize(
    "block",
    [
        "",
        " ",
        "localhost",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/08",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/0.255.255.255",
        "10.0.0/8",
        "010.0.0.0/8",
        "10.0.0.1/8",
        "2001:db8::1/32",
        "2001:db8::/129",
        "fe80::1%eth0",
        "fe80::%eth0/64",
        "::ffff:10.0.0.0/104",
        "::ffff:10.0.0.1",
        "::ffff:0:0/96",
        "10.0.0.0/8 ",
        "10.0.0.0/8\n",
        "१०.0.0.0/8",
        "1" * 5_000,
        "167772160",
    ],
)
def test_other_texts_are_refused_at_their_places(block: str) -> None:
    """Host bits, masks, zones, IPv4-mapped blocks and nonsense: the error has the place and not the text."""
    with pytest.raises(Invalid) as refused:
        parse_networks(["192.0.2.0/24", block])
    [error] = refused.value.errors
    assert error.pointer == "/networks/1"
    assert not block.strip() or block.strip() not in error.detail


def test_there_are_at_most_fifty() -> None:
    """Fifty blocks are accepted, fifty-one refused unread."""
    blocks = [f"10.{number}.0.0/16" for number in range(MAX_NETWORKS)]
    assert len(list(parse_networks(blocks))) == MAX_NETWORKS
    with pytest.raises(Invalid) as refused:
        parse_networks([*blocks, "nonsense"])
    assert [error.pointer for error in refused.value.errors] == ["/networks"]


@pytest.mark.parametrize(
    ("blocks", "address", "fits"),
    [
        ([], None, True),
        ([], "nonsense", True),
        (["0.0.0.0/0", "::/0"], None, False),
        (["0.0.0.0/0", "::/0"], "nonsense", False),
        (["0.0.0.0/0", "::/0"], "", False),
        (["10.0.0.0/8"], "10.255.255.255", True),
        (["10.0.0.0/8"], "11.0.0.0", False),
        (["10.0.0.0/8"], "9.255.255.255", False),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", True),
        (["::/0"], "::ffff:10.1.2.3", False),
        (["::/0"], "10.1.2.3", False),
        (["0.0.0.0/0"], "::1", False),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["2001:db8::/32"], "2001:DB8:0::1", True),
        (["203.0.113.7"], "203.0.113.7", True),
        (["203.0.113.7"], "203.0.113.8", False),
    ],
)
def test_an_address_fits_or_not(blocks: list[str], address: str | None, fits: bool) -> None:
    """An unknown or malformed address fits only anywhere; a mapped one counts as IPv4."""
    assert parse_networks(blocks).contains(address) is fits


def test_many_blocks_agree_with_the_standard_library() -> None:
    """For random blocks that nest, touch and overlap, both relations agree with `ipaddress`."""
    draws = Random(5)
    small = [
        f"10.0.0.{start}/{length}"
        for length in range(28, 33)
        for start in range(0, 32, 2 ** (32 - length))
    ]
    tiny = [
        f"2001:db8::{start:x}/{length}"
        for length in (124, 126, 127, 128)
        for start in range(0, 32, 2 ** (128 - length))
    ]
    addresses = [f"10.0.0.{last}" for last in range(34)] + [
        f"2001:db8::{last:x}" for last in range(34)
    ]
    for _ in range(200):
        ours, theirs = (draws.sample(small + tiny, draws.randint(1, 12)) for _ in range(2))
        networks, others = parse_networks(ours), parse_networks(theirs)
        covered = {
            each
            for each in addresses
            if any(ip_address(each) in ip_network(block) for block in ours)
        }
        assert {each for each in addresses if networks.contains(each)} == covered
        within = all(others.contains(each) for each in covered)
        assert networks.lie_within(others) is within


def test_anywhere_lies_only_within_anywhere() -> None:
    """All addresses of both versions are less than anywhere, which includes unknown addresses."""
    everything = parse_networks(["0.0.0.0/0", "::/0"])
    assert everything.lie_within(ANYWHERE)
    assert ANYWHERE.lie_within(ANYWHERE)
    assert not ANYWHERE.lie_within(everything)
    halves = parse_networks(["0.0.0.0/1", "128.0.0.0/1"])
    assert parse_networks(["0.0.0.0/0"]).lie_within(halves)
    assert not everything.lie_within(halves)
    assert Networks("10.0.0.0/8") == parse_networks(["10.0.0.0/8"])
