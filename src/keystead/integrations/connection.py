"""`connect`: the one line of configuration, whatever the framework and wherever the keys are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from keystead.domain.destinations import is_loopback
from keystead.domain.product import KEYSTEAD, Product
from keystead.extras import missing
from keystead.integrations.guard import Guard
from keystead.logger import Logger
from keystead.operation.files import ConfigurationError

_DATABASES: Final = ("sqlite:///", "postgresql://")

_log: Final = Logger("keystead.integrations")


def connect(
    to: str | None = None,
    *,
    data: Path | str | None = None,
    public_url: str | None = None,
    product_name: str | None = None,
    token_file: Path | str | None = None,
    remember_seconds: float = 0.0,
    trusted_proxies: Iterable[str] = (),
) -> Guard:
    """Return the guard over a database in process, or over a Keystead server.

    Args:
        to: `sqlite:///…`, `postgresql://…` or `https://…`; by default KEYSTEAD_DATABASE or KEYSTEAD_URL.
        data: The folder with the pepper file, in process; by default that of the SQLite file.
        public_url: The URL of Keystead as your customers reach it: problems link to their pages there. By default
            KEYSTEAD_PUBLIC_URL in process, and the server's URL otherwise; a warning is logged if that is loopback.
        product_name: The name in challenges, instead of ours; in process the setting of that name is its default.
        token_file: A file (mode 0600) with a service's credential; by default KEYSTEAD_SERVICE_TOKEN has it.
        remember_seconds: How long a verified key is cached. A revocation takes effect that much later.
        trusted_proxies: Networks of the proxies in front of the application, such as `["10.0.0.0/8"]`. Only their
            X-Forwarded-For says where a request comes from; without them, the peer is the client.

    Raises:
        ValueError: `to` is of another kind, or a network is malformed.
        ConfigurationError: The configuration is unsafe or incomplete; one line says why.
    """
    target = to or _target(os.environ)
    if target.startswith(_DATABASES):
        if remember_seconds:
            raise ValueError("over a database nothing is gained by remembering: leave it out")
        return _linked(_in_process(target, data, public_url, product_name, trusted_proxies))
    if target.startswith(("https://", "http://")):
        from keystead.integrations.remote import Remote, read_token

        token, product = read_token(token_file), Product(product_name or KEYSTEAD)
        remote = Remote(target, token, remember_seconds, trusted_proxies, public_url, product)
        return _linked(remote)
    raise ValueError("connect needs sqlite:///…, postgresql://… or the https:// URL of a server")


def _linked(guard: Guard) -> Guard:
    """Return the guard, after a warning if customers could not open the pages that its problems link to."""
    pages = guard.problems.address
    if is_loopback(urlsplit(pages).hostname or ""):
        hint = "for production, set public_url to the URL of Keystead that customers reach"
        _log.warning("problems link to this machine", pages=pages, hint=hint)
    return guard


def _target(environment: Mapping[str, str]) -> str:
    names = [name for name in ("KEYSTEAD_DATABASE", "KEYSTEAD_URL") if environment.get(name)]
    if len(names) > 1:
        raise ValueError("both KEYSTEAD_DATABASE and KEYSTEAD_URL are set: unset one of them")
    if not names:
        raise ValueError(
            "set KEYSTEAD_DATABASE or KEYSTEAD_URL, or pass connect the database or URL"
        )
    return environment[names[0]]


def _in_process(
    url: str,
    data: Path | str | None,
    public_url: str | None,
    product_name: str | None,
    trusted_proxies: Iterable[str],
) -> Guard:
    try:
        from keystead.bootstrap import read_settings
        from keystead.integrations.in_process import InProcess
    except ModuleNotFoundError as error:
        raise ConfigurationError(missing(error, "A database in process", "server")) from error

    if data is None and url.startswith("sqlite:///"):
        data = Path(url.removeprefix("sqlite:///").partition("?")[0]).parent
    settings = read_settings(
        database=url, data=data, public_url=public_url, product_name=product_name
    )
    return InProcess(settings, trusted_proxies)
