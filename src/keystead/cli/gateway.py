"""`keystead gateway`: print the configuration of a gateway that asks Keystead about each request."""

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

app = App(name="gateway", help="Print the configuration of nginx, Caddy, Traefik or Envoy.")

Value = TypeVar("Value")
Parsed = TypeVar("Parsed")
Several = Parameter(consume_multiple=True, negative=())


@Parameter(name="*", group="Gateway")
@dataclass(frozen=True)
class Places:
    """The addresses around a gateway, and the scope that each path needs."""

    public_url: Annotated[
        str, Parameter(help="Keystead's public URL, where the pages of problems are.")
    ]
    application: Annotated[
        str, Parameter(help="Your application, such as http://127.0.0.1:9000. https works too.")
    ]
    scopes: Annotated[
        tuple[str, ...],
        Several,
        Parameter(
            help="Paths and the scope that each needs: PATH=SCOPE or METHOD,METHOD:PATH=SCOPE; repeatable. "
            "`any` is any live key. GET includes HEAD. Everything else is refused."
        ),
    ]
    keystead: Annotated[
        tuple[str, ...],
        Several,
        Parameter(
            show_default=False,
            help="Keystead's address, seen from the gateway; repeatable, except for Traefik. "
            "Default: http://127.0.0.1:8080.",
        ),
    ] = ("http://127.0.0.1:8080",)
    listen: Annotated[str, Parameter(help="IP address and port that the gateway listens on.")] = (
        "127.0.0.1:8000"
    )
    tls_cert: Annotated[
        str | None, Parameter(help="The gateway's certificate, an absolute path; with --tls-key.")
    ] = None
    tls_key: Annotated[
        str | None, Parameter(help="The certificate's private key, an absolute path.")
    ] = None
    ca: Annotated[
        str | None,
        Parameter(help="Certificates (PEM) to check https servers with. Default: the system's."),
    ] = None
    origins: Annotated[
        tuple[str, ...],
        Several,
        Parameter(
            help="Origins of web pages that may call the application, such as https://app.example.com; "
            "the gateway answers their preflights (OPTIONS)."
        ),
    ] = ()


@app.command
def nginx(
    *,
    places: Places,
    max_body: Annotated[int, Parameter(help="Largest body of a request, in MiB.")] = 10,
) -> None:
    """Print nginx.conf, for nginx 1.22 or newer with auth_request."""
    if not 1 <= max_body <= 1_000_000:
        raise Failure("--max-body: must be 1 to 1,000,000 MiB.", Exit.USAGE)
    setup = _setup(places, max_body)
    for address in (*setup.keysteads, setup.application):
        if address.secure and not address.is_name:
            says = f"{address.url}: nginx checks certificates of host names only; use a name."
            raise Failure(says, Exit.USAGE)
    _print("nginx.conf", setup)


@app.command
def caddy(*, places: Places) -> None:
    """Print a Caddyfile."""
    _print("Caddyfile", _setup(places))


@app.command
def traefik(
    *,
    places: Places,
    static: Annotated[
        bool, Parameter(negative=(), help="Print the static configuration instead.")
    ] = False,
) -> None:
    """Print Traefik's routes (traefik-routes.yml), or with --static its static configuration (traefik.yml)."""
    if len(places.keystead) > 1:
        raise Failure(
            "--keystead: Traefik asks one address; put a load balancer before several.", Exit.USAGE
        )
    _print("traefik.yml" if static else "traefik-routes.yml", _setup(places))


@app.command
def envoy(*, places: Places) -> None:
    """Print envoy.yaml."""
    _print("envoy.yaml", _setup(places))


def _setup(places: Places, max_body: int = 10) -> Setup:
    from keystead.operation import gateways

    if (places.tls_cert is None) != (places.tls_key is None):
        raise Failure("--tls-cert and --tls-key go together.", Exit.USAGE)
    return gateways.Setup(
        public_url=_read("--public-url", gateways.parse_origin, places.public_url),
        application=_read("--application", gateways.parse_address, places.application),
        routes=_read("--scopes", gateways.parse_routes, places.scopes),
        keysteads=_read("--keystead", gateways.parse_keysteads, places.keystead),
        listen=_read("--listen", gateways.parse_listen, places.listen),
        certificate=_read("--tls-cert", _file, places.tls_cert),
        key=_read("--tls-key", _file, places.tls_key),
        authorities=_read("--ca", _file, places.ca),
        origins=_read("--origins", _origins, places.origins),
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
            f"Add {scope} to `scopes` in Keystead's settings, or every key is refused there."
        )
