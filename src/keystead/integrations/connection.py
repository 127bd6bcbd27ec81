"""`connect`: the one line of configuration, whatever the framework and wherever the keys are."""

from __future__ import annotations

import os
from pathlib import Path

from keystead.integrations.guard import Guard

_DATABASES = ("sqlite:///", "postgresql://")


def connect(
    to: str | None = None,
    *,
    data: Path | str | None = None,
    public_url: str | None = None,
) -> Guard:
    """The guard over a database (`sqlite:///…`, `postgresql://…`), in process. Without `to`, KEYSTEAD_DATABASE says it.

    `data` is the folder with the pepper file (beside an SQLite file by default), `public_url` where Keystead is
    reached, for the links of problems. ValueError for what is no database; ConfigurationError, in one line, for what
    is unsafe or incomplete.
    """
    place = to or os.environ.get("KEYSTEAD_DATABASE", "")
    if not place.startswith(_DATABASES):
        raise ValueError(
            "connect needs sqlite:///… or postgresql://…, here or in KEYSTEAD_DATABASE"
        )
    return _in_process(place, data, public_url)


def _in_process(url: str, data: Path | str | None, public_url: str | None) -> Guard:
    from keystead.bootstrap import read_settings
    from keystead.integrations.in_process import InProcess

    if data is None and url.startswith("sqlite:///"):
        data = Path(url.removeprefix("sqlite:///").partition("?")[0]).parent
    return InProcess(read_settings(database=url, data=data, public_url=public_url))
