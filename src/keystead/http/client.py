"""The client of a request (address, agent, request id, privacy of the connection), and the record of its request.

What proxies report is believed only if the peer is a configured proxy; X-Forwarded-* from any other peer is ignored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

from keystead.domain.ids import ALPHABET
from keystead.http.asgi import Scope
from keystead.http.redaction import redacted

if TYPE_CHECKING:
    from keystead.http.head import Head

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

AGENT_LENGTH = 200
_LONGEST_ADDRESS = len("0000:0000:0000:0000:0000:ffff:255.255.255.255")
_KEY = "keystead"
# What proxies call TLS; some say wss of a websocket.
_TLS = frozenset({b"https", b"wss"})
_LETTERS = bytes(ord(ALPHABET[byte % len(ALPHABET)]) for byte in range(256))
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
# An address, or one with the port that some proxies add: 192.0.2.1:4711, [2001:db8::1]:4711.
_HOP = re.compile(
    r"(?:([0-9.]{7,15})|\[([0-9A-Fa-f:.]{2,45})\])(?::[0-9]{1,5})?|([0-9A-Fa-f:.]{2,45})"
)


class Client(NamedTuple):
    """The other end of a request.

    `address` is "" if the server does not know it; `agent` has at most 200 printable characters. `secure`: the request
    came over TLS, as far as the server or a configured proxy knows. `private`: it may carry credentials, because it is
    secure or never left this machine. `source` and `forwarded_source`: see `Sender`.
    """

    address: str
    agent: str
    request_id: str
    secure: bool
    private: bool
    source: str | None = None
    forwarded_source: str | None = None


class Sender(NamedTuple):
    """The source of a request.

    `address` is the best guess, for records and limits; "" without any. The two others are what a key's networks are
    compared with, so they are None in every doubt. `source`: the client's address. `forwarded_source`: the same as a
    configured proxy reports it; the address of a proxy is not one.
    """

    address: str
    source: str | None
    forwarded_source: str | None


@dataclass(slots=True)
class RequestRecord:
    """What the layers note about a request for the log and the metrics."""

    client: Client
    head: Head
    key_id: str | None = None
    workspace_id: str | None = None
    denied: str | None = None
    route: str | None = None
    is_routine: bool = False
    """Whether a success leaves no line in the log."""


def parse_proxies(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return the networks of configured proxies, single addresses included. ValueError names the first bad one."""
    networks = tuple(ip_network(text.strip()) for text in texts)
    if any(network.prefixlen == 0 for network in networks):
        raise ValueError("a network of all addresses would let every client forge its address")
    return networks


def read_client(
    peer: str, scheme: str, head: Head, proxies: Sequence[Network], fresh_id: str
) -> Client:
    """Return the client behind `peer`, the address at the other end of the connection.

    `fresh_id` is the request's id unless a configured proxy sent a well-formed X-Request-Id.
    """
    near = _peer(peer)
    trusted = _within(near.address, proxies)
    forwarded = trusted and _is_forwarded(head)
    secure = scheme == "https" or (trusted and _forwarded_https(head))
    sender = _forwarded(head, near, proxies) if forwarded else _direct(near)
    return Client(
        address=sender.address,
        agent=_agent(head.joined(b"user-agent", b" ")[: 4 * AGENT_LENGTH]),
        request_id=sent_id(head.joined(b"x-request-id"), fresh_id) if trusted else fresh_id,
        secure=secure,
        # A proxy on this machine is on loopback too, but the request it forwards crossed a network.
        private=secure or (near.is_loopback and not forwarded),
        source=sender.source,
        forwarded_source=sender.forwarded_source,
    )


def read_sender(peer: str, head: Head, proxies: Sequence[Network]) -> Sender:
    """Return the source of a request from `peer`."""
    near = _peer(peer)
    if _within(near.address, proxies) and _is_forwarded(head):
        return _forwarded(head, near, proxies)
    return _direct(near)


def read_address(text: str) -> str | None:
    """Return an IP address in its canonical form, an IPv4-mapped one as IPv4; None if it is malformed or has a zone."""
    # The length first: the cache would keep a stranger's long text.
    address = _address(text) if len(text) <= _LONGEST_ADDRESS and "%" not in text else None
    return None if address is None else str(address)


def fresh_id() -> str:
    """Return the id of a new request: 22 random letters and digits. No index has it, so it needn't sort by time."""
    return f"req_{os.urandom(22).translate(_LETTERS).decode('ascii')}"


def sent_id(field: bytes, fresh_id: str) -> str:
    """Return the request id of an X-Request-Id field that a proxy sent; `fresh_id` if it is malformed."""
    text = field.decode("latin-1")
    return text if _REQUEST_ID.fullmatch(text) else fresh_id


def begin_record(scope: Scope, client: Client, head: Head) -> RequestRecord:
    """Put a fresh record into the scope."""
    record = RequestRecord(client, head)
    scope.setdefault("state", {})[_KEY] = record
    return record


def record_of(scope: Scope) -> RequestRecord:
    """Return the record of a request. KeyError outside the stack."""
    record: RequestRecord = scope["state"][_KEY]
    return record


def client_of(scope: Scope) -> Client:
    """Return the client of the request."""
    return record_of(scope).client


def note_caller(scope: Scope, *, key_id: str | None, workspace_id: str | None) -> None:
    """Note who called, for the log. Call it only after the credentials were verified."""
    record = record_of(scope)
    record.key_id, record.workspace_id = key_id, workspace_id


def note_denial(scope: Scope, reason: str) -> None:
    """Note why credentials were refused; the log shows it, the answer never does."""
    record_of(scope).denied = reason


def note_route(scope: Scope, template: str) -> None:
    """Note the route, such as `/v1/keys/{id}`, for the metrics. Starlette's routes need no note."""
    record_of(scope).route = template


def _within(address: Address | None, networks: Sequence[Network]) -> bool:
    return address is not None and any(address in network for network in networks)


def _is_forwarded(head: Head) -> bool:
    return bool(head.values(b"x-forwarded-for") or head.values(b"x-forwarded-proto"))


def _direct(peer: _Peer) -> Sender:
    return Sender(peer.text, peer.text or None, None)


def _forwarded(head: Head, peer: _Peer, proxies: Sequence[Network]) -> Sender:
    # From the right, where each proxy appended its peer, to the first address that is not one of our proxies. A client
    # may have written anything further left.
    nearest = peer.text
    for hop in reversed(head.joined(b"x-forwarded-for").decode("latin-1").split(",")):
        match = _HOP.fullmatch(hop.strip())
        address = _address(match[1] or match[2] or match[3]) if match else None
        if address is None:
            # A proxy that doesn't know its peer, or doesn't report it: the client could be anyone.
            return Sender(nearest, None, None)
        nearest = str(address)
        if not _within(address, proxies):
            return Sender(nearest, nearest, nearest)
    return Sender(nearest, nearest, None)


def _forwarded_https(head: Head) -> bool:
    protocols = head.joined(b"x-forwarded-proto").lower().split(b",")
    return all(protocol.strip() in _TLS for protocol in protocols)


class _Peer(NamedTuple):
    """The other end of a connection: `text` is its address, "" if it is not known."""

    address: Address | None
    text: str
    is_loopback: bool


@lru_cache(maxsize=4096)
def _peer(text: str) -> _Peer:
    address = _address(text)
    if address is None:
        return _Peer(None, "", is_loopback=False)
    return _Peer(address, str(address), address.is_loopback)


@lru_cache(maxsize=4096)
def _address(text: str) -> Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=1024)
def _agent(field: bytes) -> str:
    text = field.decode("utf-8", "replace")
    return redacted("".join(filter(str.isprintable, text)))[:AGENT_LENGTH]
