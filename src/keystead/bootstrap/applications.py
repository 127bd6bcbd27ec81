"""Composing the application of one server process: APIs, pages, background work, metrics."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING

from keystead.bootstrap.background import background_of
from keystead.bootstrap.installation import Installation, open_safely
from keystead.operation.files import ConfigurationError
from keystead.settings import Settings, read_server_settings

if TYPE_CHECKING:
    from keystead.api.operations import Operation
    from keystead.developer_area.web.brand import Brand
    from keystead.http.asgi import App
    from keystead.operation.metrics.counters import Metrics


def create_app() -> App:
    """Return the ASGI application of one server process, with settings from the environment and the file."""
    from keystead.operation import logs

    settings = read_server_settings()
    logs.configure(settings.log_level)
    metrics = _metrics(settings)
    installation = open_safely(settings, metrics)
    return application(installation, metrics)


def import_applications() -> None:
    """Import what `create_app` needs, so that forked processes share the memory of these modules."""
    for name in ("api.app", "developer_area.app", "gate.forward_auth", "worker.deliver"):
        import_module(f"keystead.{name}")


def application(installation: Installation, metrics: Metrics | None) -> App:
    """Return the application with all APIs and pages; its lifespan runs the background work."""
    from keystead.gate import device_login, introspection, revocation
    from keystead.gate.forward_auth import PREFIX, ForwardAuth
    from keystead.http.problems import Problems
    from keystead.http.stack import Stack
    from keystead.operation import logs
    from keystead.operation.server.dispatcher import Dispatcher, mount

    settings = installation.settings
    installation.services.compose()
    background = background_of(installation, metrics, deliver=settings.webhook_delivery)

    def start() -> None:
        logs.begin_buffering()
        background.start()

    def stop() -> None:
        background.stop()
        installation.close()
        logs.end_buffering()

    product = settings.product
    problems, proxies = Problems(settings.base_url, product), settings.trusted_proxies
    on_response = metrics.on_response if metrics else None
    dispatcher = Dispatcher(_apps(installation), start, stop)
    stack = Stack(dispatcher, problems, proxies=proxies, on_response=on_response)
    forward_auth = ForwardAuth(
        installation.services, problems, proxies=proxies, on_response=on_response
    )
    kinds = (introspection.Introspection, revocation.Revocation, device_login.DeviceLogins)
    introspecting, revoking, logging_in = (
        kind(
            installation.services,
            settings.base_url,
            product=product,
            proxies=proxies,
            on_response=on_response,
        )
        for kind in kinds
    )
    rest = mount(device_login.PREFIX, logging_in, stack)
    rest = mount(introspection.PATH, introspecting, mount(revocation.PATH, revoking, rest))
    return mount(PREFIX, forward_auth, rest)


def operator_api(installation: Installation, name: str, operations: Iterable[Operation]) -> App:
    """Return calls of the Operator API for someone on this machine, whose access to the database is the credential."""
    from keystead.api.dispatch import Calls
    from keystead.domain.credentials import ActingCredential, CredentialKind
    from keystead.domain.ids import CredentialId
    from keystead.http.problems import Problems
    from keystead.http.stack import Stack

    base_url = installation.settings.base_url
    operator = ActingCredential(CredentialId(name), CredentialKind.OPERATOR, name)
    calls = Calls(operations, installation.services, base_url, operator)
    return Stack(calls, Problems(base_url))


def _apps(installation: Installation) -> dict[str, App]:
    from keystead.api.app import Api
    from keystead.developer_area.app import create_developer_area
    from keystead.gate.discovery import Discovery
    from keystead.operation.health import PATHS, Health

    settings, services = installation.settings, installation.services
    api = Api(services, base_url=settings.base_url, product=settings.product)
    area = create_developer_area(
        services,
        base_url=settings.base_url,
        plans_url=settings.plans_url,
        brand=read_brand(settings),
    )
    health = Health(installation.database.ping)
    of_api = dict.fromkeys(("/v1", "/operator", "/openapi.json", "/docs", "/problems"), api)
    discovery = Discovery(settings.public_url, settings.catalog)
    return {"/": area, **of_api, **dict.fromkeys(PATHS, health), "/.well-known": discovery}


def read_brand(settings: Settings) -> Brand:
    """Return the product's brand. Raises ConfigurationError if the logo can't be used."""
    from keystead.developer_area.web.brand import Brand, read_logo

    try:
        logo = None if settings.logo is None else read_logo(settings.logo)
    except ValueError as error:
        raise ConfigurationError(f"logo: {settings.logo} {error}") from None
    return Brand(
        product=settings.product,
        logo=logo,
        accent=settings.accent,
        accent_dark=settings.accent_dark,
        docs_url=settings.docs_url,
        product_url=settings.product_url,
    )


def _metrics(settings: Settings) -> Metrics | None:
    # Without a listener nothing is counted, so nothing can fail.
    if settings.metrics_port is None:
        return None
    from keystead.operation.metrics.counters import Metrics

    return Metrics()
