"""Networks that a key may be used from: CIDR blocks of IPv4 and IPv6 (RFC 4632, RFC 4291)."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

from keystead.domain.errors import FieldError, Invalid

MAX_NETWORKS: Final = 50
_FORM: Final = re.compile(r"[0-9A-Fa-f:.]{2,45}(?:/(?:0|[1-9]\d{0,2}))?", re.ASCII)
_MALFORMED: Final = "must be an address or a CIDR block, such as 203.0.113.0/24 or 2001:db8::/32"
_MAPPED: Final = IPv6Network("::ffff:0:0/96")

Network = IPv4Network | IPv6Network


class _Ranges(NamedTuple):
    """Disjoint ranges of addresses as numbers, in order: their first and their last addresses."""

    first: list[int]
    last: list[int]

    def contain(self, first: int, last: int) -> bool:
        """Return whether one range has all addresses from `first` to `last`."""
        place = bisect_right(self.first, first) - 1
        return place >= 0 and last <= self.last[place]


@dataclass(frozen=True, slots=True)
class Networks:
    """A set of networks. `text` has their canonical CIDR blocks in order, separated by spaces; empty is anywhere."""

    text: str = ""

    def contains(self, address: str | None) -> bool:
        """Return whether a client at `address` may use the key. An unknown address (None) only fits anywhere.

        An IPv4-mapped IPv6 address counts as the IPv4 address (RFC 4291 section 2.5.5.2).
        """
        if not self.text:
            return True
        number = None if address is None else _number(address)
        if number is None:
            return False
        version, value = number
        return _ranges(self.text)[version].contain(value, value)

    def lie_within(self, others: Networks) -> bool:
        """Return whether `others` have every address of these. Anywhere lies only within anywhere."""
        if not others.text:
            return True
        bounds = _ranges(others.text)
        return bool(self.text) and all(
            bounds[version].contain(first, last)
            for version, own in _ranges(self.text).items()
            for first, last in zip(own.first, own.last, strict=True)
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.text.split())

    def __bool__(self) -> bool:
        return bool(self.text)


ANYWHERE: Final = Networks()


def parse_networks(texts: Iterable[str]) -> Networks:
    """Return the networks of these CIDR blocks: canonical, each once, IPv4 first, then by address and length.

    Raises Invalid, with the places of the malformed ones.
    """
    listed = list(texts)
    if len(listed) > MAX_NETWORKS:
        raise Invalid.field("/networks", f"must have at most {MAX_NETWORKS} networks")
    networks: set[Network] = set()
    errors = []
    for place, text in enumerate(listed):
        try:
            networks.add(_parse(text))
        except ValueError as error:
            errors.append(FieldError(f"/networks/{place}", str(error)))
    if errors:
        raise Invalid(errors)
    return Networks(" ".join(map(str, sorted(networks, key=_order))))


def _parse(text: str) -> Network:
    if not _FORM.fullmatch(text):
        raise ValueError(_MALFORMED)
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(_MALFORMED) from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        raise ValueError("must not be IPv4-mapped: write the IPv4 block itself")
    if "/" in text and ip_address(text.partition("/")[0]) != network.network_address:
        raise ValueError(f"must have its host bits zero: {network}")
    return network


def _order(network: Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen


@lru_cache(4_096)
def _ranges(text: str) -> dict[int, _Ranges]:
    """Return the ranges by IP version. Blocks that overlap or touch are one range."""
    ranges = {4: _Ranges([], []), 6: _Ranges([], [])}
    for network in sorted(map(ip_network, text.split()), key=_order):
        first, last = int(network.network_address), int(network.broadcast_address)
        firsts, lasts = ranges[network.version]
        if lasts and first <= lasts[-1] + 1:
            lasts[-1] = max(last, lasts[-1])
        else:
            firsts.append(first)
            lasts.append(last)
    return ranges


@lru_cache(4_096)
def _number(address: str) -> tuple[int, int] | None:
    """Return the IP version and the number of an address, without its zone; None if it is malformed."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    parsed = mapped or parsed
    return parsed.version, int(parsed)
