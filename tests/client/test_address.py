"""The URLs to which a token may be sent."""

from __future__ import annotations

import pytest

from keystead.client.connection import server_address
from keystead.client.errors import UnsafeAddress


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://keys.example.com", "https://keys.example.com"),
        ("https://keys.example.com:8443/base/", "https://keys.example.com:8443/base"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.8.9.1:8080/", "http://127.8.9.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("HTTPS://Keys.Example.com", "https://Keys.Example.com"),
    ],
)
def test_tls_and_this_machine_are_safe(url: str, address: str) -> None:
    """TLS to any host and plain http to loopback are accepted; a slash at the end is removed."""
    assert server_address(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "http://keys.example.com",
        "http://10.0.0.1:8080",
        "http://0.0.0.0:8080",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://127.0.0.1@evil.example",
        "http://evil.example#127.0.0.1",
        "http://[::ffff:10.0.0.1]",
        "http://2130706433",
        "https://user:secret@keys.example.com",
        "https://keys.example.com/?q=1",
        "https://keys.example.com/#x",
        "ftp://127.0.0.1",
        "127.0.0.1:8080",
        "keys.example.com",
        "https://",
        "https://host:port",
        "https://host:99999",
        "https://host:0",
        "https://[::1",
        "https://a b.example",
        "",
    ],
)
def test_the_network_never_sees_a_token_in_the_clear(url: str) -> None:
    """Plain http to any other host, in any disguise, and malformed URLs are refused."""
    with pytest.raises(UnsafeAddress) as refused:
        server_address(url)
    assert "secret" not in str(refused.value)
