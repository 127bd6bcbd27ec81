"""Where webhooks may be sent: which URLs are taken, and which addresses may be connected to. Hazmat.

A receiver is somebody else's choice of an address. Nothing that only this installation's network can reach may be
chosen: every address must be global unicast, and none that carries another address inside.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final
from urllib.parse import SplitResult, urlsplit

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL: Final = 2000
PORTS: Final = frozenset({443, 8443})
HTTP_PORT: Final = 80

_VISIBLE = re.compile(r"[!-~]+")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_HOME = frozenset(
    {"localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp"}
)
"""Last labels that name something near, never something on the internet (RFC 6761, RFC 6762, RFC 9476 and custom)."""

_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All that is handed out of IPv6 as global unicast (RFC 4291 section 2.5.4)."""
_CLOSED: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # between a carrier and its customers (RFC 6598)
            "127.0.0.0/8",
            "169.254.0.0/16",  # clouds answer for their metadata here
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",  # relays of 6to4 (RFC 7526)
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
            "2001::/23",  # Teredo (RFC 4380), ORCHID and other protocols' own
            "2001:db8::/32",
            "2002::/16",  # 6to4 (RFC 3056)
            "2620:4f:8000::/48",
            "3fff::/20",
            "64:ff9b::/96",  # NAT64 (RFC 6052); outside 2000::/3 like all that follow, and named for the reader
            "64:ff9b:1::/48",  # NAT64 (RFC 8215)
            "::ffff:0:0/96",  # IPv4 written as IPv6
            "::/96",
            "fc00::/7",
            "fe80::/10",
            "fec0::/10",
            "ff00::/8",
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL that may be sent to, taken apart: `host` is a name or an address, without brackets."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """As the Host field holds it (RFC 9110 section 7.2): without the port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        own = 443 if self.scheme == "https" else 80
        return host if self.port == own else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Destinations:
    """What the operator allows beyond the internet: networks of their own, plain HTTP, other ports."""

    private_networks: Collection[Network] = ()
    allow_http: bool = False
    ports: frozenset[int] = PORTS

    def read(self, url: str) -> Destination:
        """The destination that `url` names. ValueError, in words for people, where it may not be sent to."""
        parts = _split(url)
        schemes = ("https", "http") if self.allow_http else ("https",)
        if parts.scheme not in schemes:
            raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        port = self._port(parts)
        host = self._host(parts)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Destination(parts.scheme, host, port, target)

    def admit(self, address: Address) -> bool:
        """Whether a connection to that address may be opened."""
        return self._is_own(address) or is_global_unicast(address)

    def _is_own(self, address: Address) -> bool:
        return any(address in network for network in self.private_networks)

    def _port(self, parts: SplitResult) -> int:
        try:
            port = parts.port
        except ValueError:
            raise ValueError("has no such port") from None
        if port is None:
            port = 443 if parts.scheme == "https" else HTTP_PORT
        allowed = self.ports | {HTTP_PORT} if parts.scheme == "http" else self.ports
        if port not in allowed:
            raise ValueError(f"must have one of the ports {', '.join(map(str, sorted(allowed)))}")
        return port

    def _host(self, parts: SplitResult) -> str:
        host = parts.hostname or ""
        if parts.netloc.startswith("[") or ":" in host:
            return self._admitted(_six(host))
        if _NUMBER.fullmatch(host.rpartition(".")[2]):
            return self._admitted(_four(host))
        labels = host.split(".")
        if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
            raise ValueError("must name a host by letters, digits and hyphens (xn--… for others)")
        near = labels[-1] in _HOME or len(labels) == 1 or host.endswith(".home.arpa")
        if near and not self.private_networks:
            raise ValueError("must name a host on the internet")
        return host

    def _admitted(self, address: Address) -> str:
        if not self.admit(address):
            raise ValueError("must name a host on the internet")
        return str(address)


def origin_of(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of an absolute URL (RFC 6454 section 4). ValueError for a port that is none."""
    parts = urlsplit(url)
    return (
        parts.scheme,
        parts.hostname or "",
        parts.port or (443 if parts.scheme == "https" else 80),
    )


def is_global_unicast(address: Address) -> bool:
    """Whether the address is one host's on the internet, and carries no other address inside."""
    if isinstance(address, IPv6Address) and (address.scope_id or address not in _UNICAST):
        return False
    closed = any(address in network for network in _CLOSED if network.version == address.version)
    return not closed and address.is_global and not address.is_multicast


def _split(url: str) -> SplitResult:
    if not 1 <= len(url) <= MAX_URL or not _VISIBLE.fullmatch(url) or "\\" in url:
        raise ValueError(f"must be an absolute URL of at most {MAX_URL} visible ASCII characters")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("must be an absolute URL such as https://example.com/hooks") from None
    if not parts.hostname or parts.netloc.endswith(":"):
        raise ValueError("must be an absolute URL such as https://example.com/hooks")
    if "@" in parts.netloc:
        raise ValueError("must name no user: send a header of your own instead")
    if parts.fragment or url.endswith("#"):
        raise ValueError("must have no fragment")
    return parts


def _six(host: str) -> Address:
    try:
        return IPv6Address(host)
    except ValueError:
        raise ValueError("has an address that is none") from None


def _four(host: str) -> Address:
    """Four decimal numbers, as they stand: other spellings mean different hosts to different programs."""
    try:
        return IPv4Address(host)
    except ValueError:
        raise ValueError("must write an address as four decimal numbers") from None


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine: a loopback address, or `localhost` (RFC 6761 section 6.3)."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
