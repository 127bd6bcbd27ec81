"""Forwarded fields are believed only from configured proxies."""

from __future__ import annotations

import pytest

from keystead.http.client import AGENT_LENGTH, Client, parse_proxies, read_address, read_client
from keystead.http.head import Head
from tests.support.asgi import HOST

PROXIES = parse_proxies(["10.0.0.0/8", "127.0.0.1", "2001:db8:1::/48"])


def client(peer: str = "10.0.0.9", scheme: str = "http", **fields: str | list[str]) -> Client:
    """Return the client behind `peer` for a request with these fields."""
    headers = [
        (name.replace("_", "-").encode(), value.encode("utf-8"))
        for name, values in fields.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return read_client(peer, scheme, Head([HOST, *headers]), PROXIES, "req_fresh")


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("6.6.6.6, 192.0.2.7", "192.0.2.7"),
        ("6.6.6.6, 192.0.2.7, 10.1.1.1, 10.2.2.2", "192.0.2.7"),
        (["6.6.6.6", "192.0.2.7", "10.1.1.1"], "192.0.2.7"),
        ("10.3.3.3, 10.1.1.1", "10.3.3.3"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, garbage, 10.1.1.1", "10.1.1.1"),
        ("garbage", "10.0.0.9"),
        ("", "10.0.0.9"),
        ("192.0.2.7,", "10.0.0.9"),
        ("fe80::1%<script>", "10.0.0.9"),
        ("192.0.2.777", "10.0.0.9"),
        ("1" * 5_000, "10.0.0.9"),
    ],
)
def test_behind_a_proxy_the_last_stranger_is_the_client(
    forwarded: str | list[str], address: str
) -> None:
    """The address is the last in X-Forwarded-For that isn't a configured proxy; anything left of it is ignored."""
    assert client(x_forwarded_for=forwarded).address == address


@pytest.mark.parametrize(
    ("peer", "forwarded", "source", "forwarded_source"),
    [
        ("10.0.0.9", "192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.9", "6.6.6.6, 192.0.2.7, 10.1.1.1", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.9", "[2001:db8::7]:4711", "2001:db8::7", "2001:db8::7"),
        ("10.0.0.9", "::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.9", "10.3.3.3, 10.1.1.1", "10.3.3.3", None),
        ("10.0.0.9", "2001:db8:1::1", "2001:db8:1::1", None),
        ("10.0.0.9", "192.0.2.7, garbage, 10.1.1.1", None, None),
        ("10.0.0.9", "192.0.2.7,", None, None),
        ("10.0.0.9", "unknown", None, None),
        ("10.0.0.9", "", None, None),
        ("10.0.0.9", "unix:", None, None),
        ("10.0.0.9", None, "10.0.0.9", None),
        ("198.51.100.1", "192.0.2.7", "198.51.100.1", None),
        ("198.51.100.1", None, "198.51.100.1", None),
        ("", "192.0.2.7", None, None),
        ("socket", None, None, None),
    ],
)
def test_a_source_is_known_for_certain(
    peer: str, forwarded: str | None, source: str | None, forwarded_source: str | None
) -> None:
    """In any doubt there is none; behind a gateway only a configured proxy's report of a stranger counts."""
    caller = client(peer, **({} if forwarded is None else {"x_forwarded_for": forwarded}))
    assert (caller.source, caller.forwarded_source) == (source, forwarded_source)


def test_a_proxy_that_names_only_the_protocol_hides_its_client() -> None:
    """The peer is a proxy then, so its address isn't the client's."""
    caller = client("10.0.0.9", x_forwarded_proto="https")
    assert (caller.address, caller.source, caller.forwarded_source) == ("10.0.0.9", None, None)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::FFFF:192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0:0::7", "2001:db8::7"),
        ("0000:0000:0000:0000:0000:ffff:192.100.200.255", "192.100.200.255"),
        ("", None),
        ("192.0.2.7:80", None),
        ("[2001:db8::7]", None),
        ("fe80::1%eth0", None),
        ("192.0.2.0/24", None),
        ("192.0.2.07", None),
        ("192.0.2", None),
        ("3221225991", None),
        (" 192.0.2.7", None),
        ("localhost", None),
        ("1" * 60_000, None),
    ],
)
def test_an_address_is_read_strictly(text: str, address: str | None) -> None:
    """Only an IP address, without port, brackets, zone or prefix length; it has one spelling afterwards."""
    assert read_address(text) == address


def test_a_stranger_cannot_name_its_own_address() -> None:
    """From a peer that isn't a configured proxy, forwarded fields change nothing."""
    spoofed = client(
        "198.51.100.1",
        x_forwarded_for="192.0.2.7",
        x_forwarded_proto="https",
        x_real_ip="192.0.2.7",
        forwarded="for=192.0.2.7;proto=https",
        x_request_id="chosen-by-me",
    )
    assert spoofed == client("198.51.100.1")
    assert spoofed == Client(
        "198.51.100.1",
        "",
        "req_fresh",
        secure=False,
        private=False,
        source="198.51.100.1",
        forwarded_source=None,
    )


def test_other_spellings_of_forwarding_are_never_read() -> None:
    """Even from a configured proxy only X-Forwarded-For and -Proto count: it does not check the others."""
    assert client(x_real_ip="192.0.2.7", forwarded="for=192.0.2.7").address == "10.0.0.9"


@pytest.mark.parametrize(
    ("peer", "address"),
    [("::ffff:192.0.2.7", "192.0.2.7"), ("fe80::1%eth0", "fe80::1"), ("", ""), ("socket", "")],
)
def test_the_peer_is_written_in_one_way(peer: str, address: str) -> None:
    """Mapped addresses and zones have one spelling; an invalid address is ignored."""
    assert client(peer).address == address


@pytest.mark.parametrize(
    ("peer", "scheme", "proto", "secure", "private"),
    [
        ("198.51.100.1", "http", None, False, False),
        ("198.51.100.1", "https", None, True, True),
        ("198.51.100.1", "http", "https", False, False),
        ("127.0.0.1", "http", None, False, True),
        ("::1", "http", None, False, True),
        ("::1", "http", "https", False, True),
        ("::ffff:127.0.0.1", "http", None, False, True),
        ("127.0.0.1", "http", "http", False, False),
        ("127.0.0.1", "http", "https", True, True),
        ("10.0.0.9", "http", None, False, False),
        ("10.0.0.9", "http", "http", False, False),
        ("10.0.0.9", "http", "https", True, True),
        ("10.0.0.9", "http", "HTTPS", True, True),
        ("10.0.0.9", "http", "wss", True, True),
        ("10.0.0.9", "http", "WSS, https", True, True),
        ("10.0.0.9", "http", "ws", False, False),
        ("10.0.0.9", "http", "https, ws", False, False),
        ("198.51.100.1", "http", "wss", False, False),
        ("10.0.0.9", "http", "https, http", False, False),
        ("10.0.0.9", "http", "http, https", False, False),
        ("", "http", None, False, False),
    ],
)
def test_a_way_is_private_over_tls_or_on_this_machine(
    peer: str, scheme: str, proto: str | None, secure: bool, private: bool
) -> None:
    """TLS here, TLS at a configured proxy, or loopback without a proxy."""
    fields = {} if proto is None else {"x_forwarded_proto": proto}
    caller = client(peer, scheme, **fields)
    assert (caller.secure, caller.private) == (secure, private)


def test_a_local_proxy_without_a_protocol_is_not_private() -> None:
    """X-Forwarded-For shows that the request came from elsewhere, so loopback doesn't make it private."""
    assert not client("127.0.0.1", x_forwarded_for="192.0.2.7").private


@pytest.mark.parametrize("said", ["abcd1234", "0af7651916cd43dd-8448eb211c80319c", "a.b_c-d.e"])
def test_a_proxy_may_name_the_request(said: str) -> None:
    """A well-formed ID of a configured proxy is kept, so that both logs have the same request ID."""
    assert client(x_request_id=said).request_id == said


@pytest.mark.parametrize(
    "said",
    ["short", "a" * 65, "with space", 'quo"te-x', "new\u2028line-x", ["abcd1234", "abcd5678"]],
)
def test_a_malformed_request_id_is_replaced(said: str | list[str]) -> None:
    """Any other text is not logged."""
    assert client(x_request_id=said).request_id == "req_fresh"


def test_the_agent_is_printable_and_short() -> None:
    """At most 200 characters, without controls, line breaks of any alphabet, or undecodable bytes."""
    assert client(user_agent="curl/8\u2028\u202e ok\x85").agent == "curl/8 ok"
    assert client(user_agent="long name " * 100).agent == ("long name " * 100)[:AGENT_LENGTH]
    assert client().agent == ""


def test_a_token_that_was_pasted_as_agent_is_not_kept() -> None:
    """The agent is stored and shown; a run that is long enough to be a secret is not."""
    token = "ks_02tcRIyrxLXTR81B3dqdOx_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf2aDLy9"
    assert client(user_agent=f"curl/8 {token}").agent == "curl/8 [redacted]"


@pytest.mark.parametrize(
    "text", ["", "10.0.0.1/8", "example.com", "10.0.0.0/33", "0.0.0.0/0", "::/0"]
)
def test_an_invalid_proxy_network_is_refused(text: str) -> None:
    """A typo in the configuration is found at the start."""
    with pytest.raises(ValueError, match=r"does not appear|has host bits|forge"):
        parse_proxies([text])
