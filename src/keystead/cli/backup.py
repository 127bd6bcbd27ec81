"""`keystead backup` and `keystead restore`: copy the embedded database, and restore a copy safely."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from keystead.cli import render
from keystead.cli.installation import actor
from keystead.cli.options import HERE, Flag, Json, Place

if TYPE_CHECKING:
    from keystead.bootstrap import Restored

_PLURAL: Final = re.compile(r"(?<=ss)es\b|(?<!s)s\b")
Journals = Annotated[
    tuple[Path, ...], Parameter(name="--journal", negative=(), consume_multiple=False)
]


def backup(file: Path, /, *, place: Place = HERE, json: Json = False) -> None:
    """Copy the embedded database to a new file, consistently, while the server runs.

    The peppers are not in the copy: back them up separately.

    Parameters
    ----------
    file
        The file to create, with mode 0600.
    """
    from keystead import bootstrap
    from keystead.settings import read_settings

    bootstrap.back_up(read_settings(**asdict(place)), file)
    if json:
        render.print_json({"file": str(file), "bytes": file.stat().st_size})
    else:
        size = render.counted(file.stat().st_size, "byte")
        render.print_line(f"{file}: {size}. The peppers are not in it: back them up separately.")


def restore(
    file: Path | None = None,
    /,
    *,
    journal: Journals = (),
    hold: Flag = False,
    accept: Flag = False,
    place: Place = HERE,
    json: Json = False,
) -> None:
    """Restore a backup; keys revoked since then stay revoked.

    Changes in this server's revocation log are repeated: keys revoked (also those rotated or changed since),
    workspaces suspended, members removed, roles lowered, webhooks deleted or disabled. Passwords and email addresses
    changed since are removed, open invitations are revoked, and all sessions end.

    Parameters
    ----------
    file
        A backup that replaces the embedded database while the server is stopped. Default: you have already restored
        the database by other means.
    journal
        The revocation log (the file `endings`) of another server of this installation; repeatable.
    hold
        Also suspend all workspaces, until you resume them.
    accept
        Continue without a revocation log.
    """
    from keystead import bootstrap
    from keystead.settings import read_settings

    settings = read_settings(**asdict(place))
    restored = bootstrap.restore(
        settings, actor(), file=file, journals=journal, hold=hold, accept=accept
    )
    if json:
        render.print_json(_as_json(restored))
    else:
        for line in _lines(restored):
            render.print_line(line)


def _as_json(restored: Restored) -> dict[str, object]:
    redone = restored.redone
    return {
        "done_again": dict(redone.done),
        "unknown": redone.unknown,
        "named": redone.named,
        "to_look_at": redone.to_look_at,
        "held": restored.held,
        "kept": None if restored.kept is None else str(restored.kept),
    }


def _lines(restored: Restored) -> Iterator[str]:
    redone = restored.redone
    counts = (_counted(number, what) for what, number in redone.done.items() if number)
    yield f"Applied again since the backup: {', '.join(counts) or 'nothing'}."
    yield "All sessions have ended."
    if restored.held:
        count = render.counted(restored.held, "workspace")
        yield f"Suspended {count}. To resume one: keystead workspaces resume"
    yield from redone.named
    yield from (f"Check this: {text}" for text in redone.to_look_at)
    yield "Keys created since the backup no longer exist. Their users get 401 and need new keys."
    if restored.kept is not None:
        yield f"The previous database is in {restored.kept}"


def _counted(number: int, what: str) -> str:
    """Return `2 keys revoked` or `1 key revoked`."""
    return f"{number:,} {what if number != 1 else _PLURAL.sub('', what, count=1)}"
