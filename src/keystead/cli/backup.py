"""`keystead backup` and `keystead restore`: copy the embedded database, and restore a copy safely."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from keystead.cli import render
from keystead.cli.options import Flag, Json, Place

if TYPE_CHECKING:
    from keystead.bootstrap import Restored

HERE: Final = Place()
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
    from keystead.cli.installation import actor
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


def _lines(restored: Restored) -> list[str]:
    redone = restored.redone
    again = ", ".join(f"{number} {what}" for what, number in redone.done.items() if number)
    lines = [f"Done again since the backup: {again or 'nothing'}.", "Every session has ended."]
    if restored.held:
        lines.append(f"{restored.held} workspaces are suspended: keystead workspaces resume")
    lines += redone.named
    lines += [f"Look at this: {text}" for text in redone.to_look_at]
    lines.append(
        "Keys that were made since the backup are unknown now: their callers get 401 and need new ones."
    )
    if restored.kept is not None:
        lines.append(f"The database as it was before is {restored.kept}")
    return lines
