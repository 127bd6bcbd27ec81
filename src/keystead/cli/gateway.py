"""`keystead gateway`: print the configuration of a gateway that authorizes requests with Keystead."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar

from cyclopts import App, Parameter

from keystead.cli import render
from keystead.cli.outcome import Exit, Failure

if TYPE_CHECKING:
    from keystead.operation.gateways import Setup

app = App(name="gateway", help="Print a configuration for nginx, Caddy, Traefik or Envoy.")

Value = TypeVar("Value")
Parsed = TypeVar("Parsed")
Several = Parameter(consume_multiple=True, negative=())


@Parameter(name="*", group="Gateway")
@dataclass(frozen=True)
class Addresses:
    """The addresses around a gateway, and the scope that each path needs."""

    public_url: Annotated[
        str, Parameter(help="Keystead's public URL, which serves the pages about errors.")
    ]
    application: Annotated[
        str, Parameter(help="Your application's URL, such as http://127.0.0.1:9000.")
    ]
    scopes: Annotated[
        tuple[str, ...],
        Several,
        Parameter(
            help="A path and the scope that it needs: PATH=SCOPE or METHOD,METHOD:PATH=SCOPE; repeatable. "
            "`any`: any live key. GET includes HEAD. All other paths are refused."
        ),
    ]
    keystead: Annotated[
        tuple[str, ...],
        Several,
        Parameter(
            show_default=False,
            help="Keystead's URL for the gateway; repeatable, except for Traefik. "
            "Default: http://127.0.0.1:8080.",
        ),
    ] = ("http://127.0.0.1:8080",)
    listen: Annotated[
        str, Parameter(help="The IP address and port that the gateway listens on.")
    ] = "127.0.0.1:8000"
    tls_cert: Annotated[
        str | None,
        Parameter(help="The gateway's certificate, as an absolute path; with --tls-key."),
    ] = None
    tls_key: Annotated[
        str | None, Parameter(help="The certificate's private key, as an absolute path.")
    ] = None
    ca: Annotated[
        str | None,
        Parameter(
            help="The certificates (PEM) to verify https servers with. Default: the system's."
        ),
    ] = None
    origins: Annotated[
        tuple[str, ...],
        Several,
        Parameter(
            help="An origin of web pages that may call the application, such as https://app.example.com; "
            "repeatable. The gateway answers preflight requests (OPTIONS)."
        ),
    ] = ()


@app.command
def nginx(
    *,
    addresses: Addresses,
    max_body: Annotated[int, Parameter(help="The largest request body, in MiB.")] = 10,
) -> None:
    """Print nginx.conf, for nginx 1.22 or newer with auth_request."""
    if not 1 <= max_body <= 1_000_000:
        raise Failure("--max-body must be 1 to 1,000,000 MiB.", Exit.USAGE)
    setup = _setup(addresses, max_body)
    for address in (*setup.keysteads, setup.application):
        if address.secure and not address.is_name:
            raise Failure(
                f"{address.url}: nginx only verifies certificates of host names. Use a name.",
                Exit.USAGE,
            )
    _print("nginx.conf", setup)


@app.command
def caddy(*, addresses: Addresses) -> None:
    """Print a Caddyfile."""
    _print("Caddyfile", _setup(addresses))


@app.command
def traefik(
    *,
    addresses: Addresses,
    static: Annotated[
        bool, Parameter(negative=(), help="Print the static configuration instead.")
    ] = False,
) -> None:
    """Print Traefik's routes (traefik-routes.yml), or with --static its static configuration (traefik.yml)."""
    if len(addresses.keystead) > 1:
        raise Failure(
            "--keystead: Traefik takes one address. Put a load balancer in front of several.",
            Exit.USAGE,
        )
    _print("traefik.yml" if static else "traefik-routes.yml", _setup(addresses))


@app.command
def envoy(*, addresses: Addresses) -> None:
    """Print envoy.yaml."""
    _print("envoy.yaml", _setup(addresses))


def _setup(addresses: Addresses, max_body: int = 10) -> Setup:
    from keystead.operation import gateways

    if (addresses.tls_cert is None) != (addresses.tls_key is None):
        raise Failure("--tls-cert and --tls-key must be used together.", Exit.USAGE)
    return gateways.Setup(
        public_url=_read("--public-url", gateways.parse_origin, addresses.public_url),
        application=_read("--application", gateways.parse_address, addresses.application),
        routes=_read("--scopes", gateways.parse_routes, addresses.scopes),
        keysteads=_read("--keystead", gateways.parse_keysteads, addresses.keystead),
        listen=_read("--listen", gateways.parse_listen, addresses.listen),
        certificate=_read("--tls-cert", _file, addresses.tls_cert),
        key=_read("--tls-key", _file, addresses.tls_key),
        authorities=_read("--ca", _file, addresses.ca),
        origins=_read("--origins", _origins, addresses.origins),
        max_body=max_body,
    )


def _read(option: str, parse: Callable[[Value], Parsed], value: Value) -> Parsed:
    try:
        return parse(value)
    except ValueError as error:
        raise Failure(f"{option}: {error}.", Exit.USAGE) from None


def _file(path: str | None) -> str:
    from keystead.operation.gateways import parse_file

    return "" if path is None else parse_file(path)


def _origins(origins: Iterable[str]) -> list[str]:
    from keystead.operation.gateways import parse_origin

    return list(dict.fromkeys(map(parse_origin, origins)))


def _print(template: str, setup: Setup) -> None:
    from keystead.operation import gateways

    sys.stdout.write(gateways.render(template, setup))
    for scope in gateways.custom_scopes(setup.routes):
        render.note(
            f"Add {scope} to `scopes` in Keystead's settings. Until then every key is refused there."
        )
