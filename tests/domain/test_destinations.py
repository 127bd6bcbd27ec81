"""Allowed URLs of webhooks: hosts on the internet, with one spelling only."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.domain.destinations import Destination, Destinations, is_global_unicast
from tests.support.hostile_urls import HOSTILE_URLS

INTERNET = Destinations()
OWN = Destinations([ipaddress.ip_network("10.0.0.0/8")], allow_http=True, ports=frozenset({9000}))


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_a_hostile_url_is_refused(url: str) -> None:
    """Each is refused with a sentence that repeats no part of the URL."""
    with pytest.raises(ValueError, match=r"^(must|has)"):
        INTERNET.read(url)


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("https://example.com/x?y=1", ("https", "example.com", 443, "/x?y=1")),
        ("https://example.com", ("https", "example.com", 443, "/")),
        ("HTTPS://Example.COM:8443/", ("https", "example.com", 8443, "/")),
        ("https://xn--bcher-kva.example/h", ("https", "xn--bcher-kva.example", 443, "/h")),
        ("https://8.8.8.8/", ("https", "8.8.8.8", 443, "/")),
        ("https://[2606:4700::1111]/", ("https", "2606:4700::1111", 443, "/")),
    ],
)
def test_a_host_on_the_internet_is_accepted(url: str, read: tuple[str, str, int, str]) -> None:
    """A name or an address is accepted, and split as it will be used."""
    assert INTERNET.read(url) == Destination(*read)


def test_the_host_field_has_the_port_unless_it_is_the_default() -> None:
    """The Host field omits the scheme's default port, and an IPv6 address is in brackets."""
    assert INTERNET.read("https://example.com:443/").authority == "example.com"
    assert INTERNET.read("https://example.com:8443/").authority == "example.com:8443"
    assert INTERNET.read("https://[2606:4700::1]:8443/").authority == "[2606:4700::1]:8443"


def test_the_operator_may_allow_more() -> None:
    """The operator can allow their own networks, plain HTTP or other ports; these, and no others."""
    assert OWN.read("http://10.1.2.3:9000/").port == 9000
    assert OWN.read("http://receiver:80/").host == "receiver"
    assert OWN.admit(ipaddress.ip_address("10.1.2.3"))
    for url in ("http://192.168.0.1/", "https://10.1.2.3:22/", "https://127.0.0.1:9000/"):
        with pytest.raises(ValueError, match=r"^must"):
            OWN.read(url)


@given(st.ip_addresses(v=4))
def test_what_python_calls_private_is_never_admitted(address: ipaddress.IPv4Address) -> None:
    """Any address that is not global to the standard library is refused, and so are multicast and reserved ones."""
    admitted = is_global_unicast(address)
    assert not admitted or (address.is_global and not address.is_multicast)
    assert not admitted or not address.is_reserved


@given(st.ip_addresses(v=6))
def test_of_version_6_only_global_unicast_is_admitted(address: ipaddress.IPv6Address) -> None:
    """Only 2000::/3 is allowed, except addresses that contain an IPv4 address."""
    if is_global_unicast(address):
        assert address in ipaddress.ip_network("2000::/3")
        assert address.sixtofour is None
        assert address.teredo is None
        assert address.ipv4_mapped is None


@given(st.ip_addresses(v=4))
def test_no_address_is_reached_inside_another(address: ipaddress.IPv4Address) -> None:
    """Mapped, compatible, 6to4, Teredo, both prefixes of NAT64: refused, whatever address they contain."""
    number = int(address)
    for carrier in (
        0xFFFF << 32 | number,
        number,
        0x2002 << 112 | number << 80,
        0x2001 << 112 | number << 64,
        0x2001 << 112 | (number ^ 0xFFFFFFFF),
        0x64FF9B << 96 | number,
        0x64FF9B0001 << 80 | number,
    ):
        assert not is_global_unicast(ipaddress.IPv6Address(carrier))
