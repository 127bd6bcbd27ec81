"""Where webhooks may be sent: which URLs are accepted, and which addresses may be connected to. Hazmat.

Customers choose these addresses, so none may lead into this installation's own network (server-side request forgery):
every address must be global unicast, and must not embed another address.
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
_DEFAULT_PORTS: Final = {"http": HTTP_PORT, "https": 443}

_VISIBLE = re.compile(r"[!-~]+")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LOCAL_LABELS = frozenset(
    {"localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "corp"}
)
"""Last labels that name hosts of a local network (RFC 6761, RFC 6762, RFC 9476 and custom)."""

_UNICAST = ipaddress.IPv6Network("2000::/3")
"""All IPv6 addresses that are allocated as global unicast (RFC 4291 section 2.5.4)."""
_SPECIAL: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",  # between a carrier and its customers (RFC 6598)
            "127.0.0.0/8",
            "169.254.0.0/16",  # the metadata services of clouds
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
            "2001::/23",  # Teredo (RFC 4380), ORCHID and other protocols
            "2001:db8::/32",
            "2002::/16",  # 6to4 (RFC 3056)
            "2620:4f:8000::/48",
            "3fff::/20",
            "64:ff9b::/96",  # NAT64 (RFC 6052); already outside 2000::/3, like all that follow
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
    """The parts of an accepted URL: `host` is a name or an address, without brackets."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Return the value of the Host field (RFC 9110 section 7.2), without the scheme's default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Destinations:
    """The rules for destinations, with what the operator allows: private networks, plain HTTP, other ports."""

    private_networks: Collection[Network] = ()
    allow_http: bool = False
    ports: frozenset[int] = PORTS

    def read(self, url: str) -> Destination:
        """Return the destination of `url`. ValueError, in words for people, if it is not allowed."""
        parts = _split(url)
        schemes = ("https", "http") if self.allow_http else ("https",)
        if parts.scheme not in schemes:
            raise ValueError(f"must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        port = self._port(parts)
        host = self._host(parts)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Destination(parts.scheme, host, port, target)

    def admit(self, address: Address) -> bool:
        """Return whether a connection to that address may be opened.

        Checked again at each connection, because the owner of a name can change its addresses at any time.
        """
        is_private = any(address in network for network in self.private_networks)
        return is_private or is_global_unicast(address)

    def _port(self, parts: SplitResult) -> int:
        try:
            port = parts.port
        except ValueError:
            raise ValueError("must have a port from 1 to 65535") from None
        if port is None:
            port = _DEFAULT_PORTS[parts.scheme]
        allowed = self.ports | {HTTP_PORT} if parts.scheme == "http" else self.ports
        if port not in allowed:
            raise ValueError(f"must have one of the ports {', '.join(map(str, sorted(allowed)))}")
        return port

    def _host(self, parts: SplitResult) -> str:
        host = parts.hostname or ""
        if parts.netloc.startswith("[") or ":" in host:
            return self._admitted(_ipv6(host))
        if _NUMBER.fullmatch(host.rpartition(".")[2]):
            return self._admitted(_ipv4(host))
        labels = host.split(".")
        if len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
            raise ValueError("must name a host by letters, digits and hyphens (xn--… for others)")
        is_local = labels[-1] in _LOCAL_LABELS or len(labels) == 1 or host.endswith(".home.arpa")
        if is_local and not self.private_networks:
            raise ValueError("must name a host on the internet")
        return host

    def _admitted(self, address: Address) -> str:
        if not self.admit(address):
            raise ValueError("must name a host on the internet")
        return str(address)


def origin_of(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port (RFC 6454 section 4); None for a malformed URL, or one with user information."""
    try:
        parts = urlsplit(url)
        port = _DEFAULT_PORTS.get(parts.scheme) if parts.port is None else parts.port
    except ValueError:
        return None
    if not parts.hostname or port is None or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine: a loopback address, or `localhost` (RFC 6761 section 6.3)."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_global_unicast(address: Address) -> bool:
    """Return whether the address belongs to one host on the internet, and embeds no other address."""
    if isinstance(address, IPv6Address) and (address.scope_id or address not in _UNICAST):
        return False
    special = any(address in network for network in _SPECIAL if network.version == address.version)
    return not special and address.is_global and not address.is_multicast


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
        raise ValueError("must not have a user or password: use a custom header instead")
    if parts.fragment or url.endswith("#"):
        raise ValueError("must not have a fragment")
    return parts


def _ipv6(host: str) -> Address:
    try:
        return IPv6Address(host)
    except ValueError:
        raise ValueError("must be a valid IPv6 address in brackets") from None


def _ipv4(host: str) -> Address:
    # Strictly four decimal numbers: programs disagree on other spellings, such as octal 0177.0.0.1.
    try:
        return IPv4Address(host)
    except ValueError:
        raise ValueError("must write an address as four decimal numbers") from None
