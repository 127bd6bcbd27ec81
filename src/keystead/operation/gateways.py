"""Configurations of gateways (nginx, Caddy, Traefik, Envoy) that let Keystead authorize each request.

Every value in a file has passed one of the `parse_` functions, whose grammars allow no character with a
meaning in any of the four languages.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from keystead.domain import errors
from keystead.domain.scopes import BUILT_IN, EVERYTHING, is_scope
from keystead.http.problems import STATUS, MethodNotAllowed, Problems

ANY: Final = "any"
"""Pseudo-scope that any live key has."""
CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
METHOD_OVERRIDES: Final = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")
"""Header fields with which some applications let a client override the method that the gateway authorized."""
IDENTITY: Final = (
    "X-Keystead-Workspace",
    "X-Keystead-Key",
    "X-Keystead-Scopes",
    "X-Keystead-Metadata",
)

# Escapes of characters that need none (letters, digits, `-._~`), that split a path (`/;?#%\`) or are controls; overlong
# and invalid UTF-8; malformed escapes; and the two non-ASCII characters whose other case is `k` or `s`.
# The only backslash is in \x5c, so that all four languages read these patterns alike.
_ESCAPES: Final = (
    "[01][0-9a-f]|2[35d-f]|3[0-9bf]|4[1-9a-f]|5[0-9acf]|6[1-9a-f]|7[0-9aef]"
    "|c[01]|e0%[89]|f0%8|f[5-9a-f]|c5%bf|e2%84%aa|[^0-9a-f]|[0-9a-f][^0-9a-f]|[0-9a-f]?$"
)
AMBIGUOUS: Final = f"^[^/]|^$|//|[;#\\x5c]|[^!-~]|(?:[.]|%20)(?:/|$)|%(?:{_ESCAPES})"
"""Matches raw paths that two programs could read differently; for use without regard to case."""
AMBIGUOUS_URI: Final = "(?i)^[^?]*(?:{})".format(
    AMBIGUOUS.removeprefix("^[^/]|^$|").replace("(?:/|$)", "(?:[/?]|$)")
)
"""The same for a path followed by its query."""
AMBIGUOUS_DECODED: Final = (
    r"[;#\x5c\x{17f}\x{212a}\x{fffd}]|[\x00-\x1f\x7f]|[. ](?:/|$)|%(?:2[35f]|3[bf]|5c)"
)
"""The same for a path in which all but reserved characters are decoded, as Traefik's routes see it."""

_PREFIX: Final = re.compile(r"(?:/\.?[A-Za-z0-9_~-]+(?:\.[A-Za-z0-9_~-]+)*)+")
_METHODS: Final = re.compile(r"[A-Z]{3,20}(?:,[A-Z]{3,20})*")
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PLACE: Final = re.compile(
    rf"(?:\[([0-9A-Fa-f:.]{{2,45}})\]|({_LABEL}(?:\.{_LABEL}){{0,20}}))(?::([0-9]{{1,5}}))?"
)
_FILE: Final = re.compile(r"/[A-Za-z0-9._/+-]+")
_LONGEST: Final = 200


@dataclass(frozen=True)
class Address:
    """A server's address; `host` is a name or an IP address, IPv6 without brackets."""

    host: str
    port: int
    secure: bool = False

    @property
    def is_name(self) -> bool:
        """Return whether the host is a name, which must be resolved."""
        return not _ip_version(self.host)

    @property
    def place(self) -> str:
        """Return host and port as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the origin."""
        return f"{'https' if self.secure else 'http'}://{self.place}"


@dataclass(frozen=True)
class Route:
    """A path with everything under it, and the scope it requires; for all methods if `methods` is empty."""

    prefix: str
    scope: str
    methods: tuple[str, ...] = ()

    @property
    def pattern(self) -> str:
        """Return the prefix as a pattern without anchors; empty for `/`."""
        return self.prefix.rstrip("/").replace(".", "[.]")

    @property
    def name(self) -> str:
        """Return the scope as a name that is valid in all four languages."""
        return self.scope.replace(":", ".")


@dataclass(frozen=True)
class Setup:
    """The values of a configuration. `routes` are sorted; the first match decides."""

    public_url: str
    listen: Address
    keysteads: Sequence[Address]
    application: Address
    routes: Sequence[Route]
    origins: Sequence[str] = ()
    certificate: str = ""
    key: str = ""
    authorities: str = ""
    max_body: int = 10


_BEYOND_PLACE: Final = re.compile("[/?#@]")


def parse_address(text: str) -> Address:
    """Parse `http://host:port` or `https://host`. ValueError for anything else."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in {"http", "https"}:
        raise ValueError(f"{text!r} must begin with http:// or https://")
    secure = scheme == "https"
    place = rest.removesuffix("/")
    if _BEYOND_PLACE.search(place):
        raise ValueError(f"{text!r} must have no path, query, fragment or user")
    return _address(text, place, secure=secure, default=443 if secure else 80)


def parse_listen(text: str) -> Address:
    """Parse `127.0.0.1:8000` or `[::1]:8000`. ValueError for anything else."""
    address = _address(text, text, secure=False, default=0)
    if address.is_name or not address.port:
        raise ValueError(f"{text!r} must be an IP address and a port, such as 127.0.0.1:8000")
    return address


def parse_origin(text: str) -> str:
    """Parse an origin into the form that browsers send, without the default port. ValueError for anything else."""
    address = parse_address(text)
    usual = address.port == (443 if address.secure else 80)
    return address.url.removesuffix(f":{address.port}").lower() if usual else address.url.lower()


def parse_file(text: str) -> str:
    """Parse the absolute path of a file. ValueError for anything else, such as characters that need quotes."""
    if not _FILE.fullmatch(text) or len(text) > _LONGEST:
        raise ValueError(f"{text!r} must be an absolute path of letters, digits and ._/+-")
    return text


def parse_routes(texts: Iterable[str]) -> list[Route]:
    """Parse `/documents=documents:read` or `GET,POST:/documents=…`; returns the most specific route first.

    ValueError for malformed texts, an empty list, and a repeated pair of path and method.
    """
    routes = [_route(text) for text in texts]
    if not routes:
        raise ValueError("give at least one path and its scope, such as /documents=documents:read")
    claimed = set[tuple[str, str]]()
    for route in routes:
        for method in route.methods or ("",):
            if (route.prefix.lower(), method) in claimed:
                target = f"{method} {route.prefix}" if method else route.prefix
                raise ValueError(
                    f"{target} is given twice; paths are compared without regard to case"
                )
            claimed.add((route.prefix.lower(), method))
    return sorted(routes, key=_specific_first)


def parse_keysteads(texts: Iterable[str]) -> list[Address]:
    """Parse the addresses of interchangeable servers. ValueError if empty, or if they can't share a configuration."""
    addresses = [parse_address(text) for text in texts]
    if not addresses:
        raise ValueError("give the address of Keystead, such as http://127.0.0.1:8080")
    kinds = {(address.secure, address.secure and address.host) for address in addresses}
    if len(kinds) > 1:
        raise ValueError("several addresses must all be http, or https with the same host name")
    return addresses


def custom_scopes(routes: Iterable[Route]) -> list[str]:
    """Return the scopes that Keystead's settings must define."""
    return sorted({route.scope for route in routes} - {ANY, *BUILT_IN})


def render(template: str, setup: Setup) -> str:
    """Return the text of a configuration; `template` is the name of a shipped file."""
    pages = Environment(
        loader=PackageLoader("keystead.operation", "gateway_templates"),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - not HTML; what is put in has passed the grammars above
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return pages.get_template(template).render(
        setup=setup,
        scopes={route.scope: route.name for route in setup.routes},
        outside=[_outside(route, setup.routes) for route in setup.routes],
        closes=[_closes(route, setup.routes) for route in setup.routes],
        problem=_problems(setup.public_url),
        ambiguous=AMBIGUOUS,
        ambiguous_uri=AMBIGUOUS_URI,
        ambiguous_whole=f"(?i).*(?:{AMBIGUOUS}).*",
        ambiguous_decoded=AMBIGUOUS_DECODED,
        overrides=METHOD_OVERRIDES if any(route.methods for route in setup.routes) else (),
        spellings=spellings,
        identity=IDENTITY,
        certificates=setup.authorities or CERTIFICATES,
        first=setup.keysteads[0],
    )


def spellings(name: str) -> Iterator[str]:
    """Yield every spelling of `name` for applications that treat `_` and `.` like `-`."""
    first, *rest = name.split("-")
    names = [first]
    for part in rest:
        names = [f"{start}{separator}{part}" for start in names for separator in "-_."]
    return iter(names)


def _route(text: str) -> Route:
    path, separator, scope = text.partition("=")
    methods, colon, prefix = path.rpartition(":")
    if not separator or (colon and not _METHODS.fullmatch(methods)):
        raise ValueError(f"{text!r} must be PATH=SCOPE, or METHOD,METHOD:PATH=SCOPE")
    prefix = prefix.rstrip("/") or "/"
    if prefix != "/" and not (_PREFIX.fullmatch(prefix) and len(prefix) <= _LONGEST):
        raise ValueError(
            f"{prefix!r} must be a path such as /documents, of letters, digits and -_~, dots inside names"
        )
    if scope == EVERYTHING:
        raise ValueError(
            f"{text!r}: a route can't require *; give a scope, or {ANY} for any live key"
        )
    if scope != ANY and not is_scope(scope):
        raise ValueError(f"{scope!r} must be a scope such as documents:read, or {ANY}")
    chosen = tuple(dict.fromkeys(methods.split(","))) if methods else ()
    return Route(
        prefix, scope, (*chosen, "HEAD") if "GET" in chosen and "HEAD" not in chosen else chosen
    )


def _outside(route: Route, routes: Sequence[Route]) -> list[str]:
    """Return the patterns below deeper routes that those don't match and this one must not: see `_closes`."""
    deeper = (other for other in routes if _is_below(other, route))
    return list(
        dict.fromkeys(
            f"{other.pattern}{'(?:[/.]|$)' if other.methods else '[.]'}" for other in deeper
        )
    )


def _closes(route: Route, routes: Sequence[Route]) -> bool:
    """Return whether the gateway must refuse the rest of this route's path, as its last route.

    That is any other method, and paths such as `/documents.json`, which some applications serve as
    `/documents`: they must not fall through to an enclosing route.
    """
    same = [other for other in routes if other.prefix.lower() == route.prefix.lower()]
    is_within = any(_is_below(route, other) for other in routes)
    return route is same[-1] and (bool(route.methods) or is_within)


def _is_below(other: Route, route: Route) -> bool:
    root = route.prefix.rstrip("/").lower()
    return other.prefix.lower().startswith(f"{root}/") and len(other.prefix) > len(route.prefix)


def _specific_first(route: Route) -> tuple[int, str, bool]:
    return -len(route.prefix), route.prefix.lower(), not route.methods


def _problems(public_url: str) -> dict[str, str]:
    """Return the problems (RFC 9457) that the gateway itself responds with, as JSON by code."""
    address = Problems(public_url).address
    kinds: tuple[type[errors.KeysteadError], ...] = (
        errors.InvalidRequest, errors.Unauthenticated, errors.InvalidToken,
        errors.InsufficientScope, errors.NotFound, MethodNotAllowed, errors.TooLarge,
        errors.RateLimited, errors.Unavailable,
    )  # fmt: skip
    return {
        kind.code: json.dumps(
            {
                "type": f"{address}/{kind.code}",
                "title": kind.title,
                "status": STATUS[kind.code],
                "code": kind.code,
            },
            separators=(",", ":"),
        ).replace("'", "\\u0027")
        for kind in kinds
    }


def _address(text: str, place: str, *, secure: bool, default: int) -> Address:
    parts = _PLACE.fullmatch(place)
    if parts is None:
        raise ValueError(f"{text!r} must name a host, such as 127.0.0.1 or app.internal")
    host, port = parts[1] or parts[2], int(parts[3] or default)
    # A name of digits and dots must be an address: 127.0.0.1.1 is a typo.
    needed = 6 if parts[1] else 4 if host.replace(".", "").isdigit() else 0
    if _ip_version(host) != needed:
        raise ValueError(f"{text!r} must name a host, such as 127.0.0.1 or app.internal")
    if not (default == port == 0 or 1 <= port <= 65535):
        raise ValueError(f"{text!r}: a port is a number from 1 to 65535")
    return Address(host, port, secure)


def _ip_version(host: str) -> int:
    """Return 4 or 6 for an address, 0 for a name."""
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return 0
