"""`keystead backup` and `keystead restore`: a copy of the embedded database, and what a restored one needs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from keystead.cli import render
from keystead.cli.options import Json, Place

if TYPE_CHECKING:
    from keystead.bootstrap import Restored

HERE: Final = Place()
Flag = Annotated[bool, Parameter(negative=())]
Journals = Annotated[
    tuple[Path, ...], Parameter(name="--journal", negative=(), consume_multiple=False)
]


def backup(file: Path, /, *, place: Place = HERE, json: Json = False) -> None:
    """Copy the embedded database to a new file, as of one moment, while the server runs.

    The peppers are not in it: keep a copy of them elsewhere.

    Parameters
    ----------
    file
        The file to make, with mode 0600.
    """
    from keystead import bootstrap
    from keystead.settings import read_settings

    bootstrap.back_up(read_settings(**asdict(place)), file)
    if json:
        render.print_json({"file": str(file), "bytes": file.stat().st_size})
    else:
        render.print_line(f"{file}: {file.stat().st_size} bytes. The peppers are not in it.")


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
    """Take a backup into service without giving life back to what was revoked since.

    What this server's journal reports is done again: keys revoked (also those that were rotated or changed since),
    workspaces suspended, members removed, roles lowered, webhooks deleted or disabled. Passwords and email addresses
    that were changed since are unset, open invitations are revoked, and every session ends.

    Parameters
    ----------
    file
        A backup, to be put in the place of the embedded database while the server is stopped. Without it the database
        has been restored already, by other means.
    journal
        The file `endings` of another server of this installation; once for each.
    hold
        Suspend every workspace too, until it is resumed.
    accept
        Go on although there is no journal.
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
