"""`connect`: the one line of configuration, whatever the framework and wherever the keys are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from keystead.integrations.guard import Guard

_DATABASES = ("sqlite:///", "postgresql://")


def connect(
    to: str | None = None,
    *,
    data: Path | str | None = None,
    public_url: str | None = None,
    token_file: Path | str | None = None,
    remember_seconds: float = 0.0,
) -> Guard:
    """The guard over a database (`sqlite:///…`, `postgresql://…`) in process, or over the server at `https://…`.

    Without `to`, KEYSTEAD_DATABASE or KEYSTEAD_URL says it. In process, `data` is the folder with the pepper file
    (beside an SQLite file by default), and `public_url` where Keystead is reached, for the links of problems. For a
    server, KEYSTEAD_SERVICE_TOKEN or `token_file` (mode 0600) holds a service's credential, and with
    `remember_seconds` a key that was good is taken to be good for so long: a revocation shows that much later here.

    ValueError for what is neither; ConfigurationError, in one line, for what is unsafe or incomplete.
    """
    place = to or _place(os.environ)
    if place.startswith(_DATABASES):
        if remember_seconds:
            raise ValueError("over a database nothing is gained by remembering: leave it out")
        return _in_process(place, data, public_url)
    if place.startswith(("https://", "http://")):
        return _remote(place, token_file, remember_seconds)
    raise ValueError("connect needs sqlite:///…, postgresql://… or the https:// URL of a server")


def _place(environment: Mapping[str, str]) -> str:
    named = [name for name in ("KEYSTEAD_DATABASE", "KEYSTEAD_URL") if environment.get(name)]
    if len(named) > 1:
        raise ValueError("both KEYSTEAD_DATABASE and KEYSTEAD_URL are set: unset one of them")
    if not named:
        raise ValueError(
            "set KEYSTEAD_DATABASE or KEYSTEAD_URL, or pass connect the database or URL"
        )
    return environment[named[0]]


def _in_process(url: str, data: Path | str | None, public_url: str | None) -> Guard:
    from keystead.bootstrap import read_settings
    from keystead.integrations.in_process import InProcess

    if data is None and url.startswith("sqlite:///"):
        data = Path(url.removeprefix("sqlite:///").partition("?")[0]).parent
    return InProcess(read_settings(database=url, data=data, public_url=public_url))


def _remote(url: str, token_file: Path | str | None, remember_seconds: float) -> Guard:
    from keystead.integrations.remote import Remote, read_token

    return Remote(url, read_token(token_file), remember_seconds)
