"""What people write of a key on the command line, read; what cannot be read is told as wrong usage."""

from __future__ import annotations

from datetime import datetime, timedelta

from keystead.cli.outcome import Exit, Failure
from keystead.cli.spans import parse_expiry, parse_span
from keystead.domain.ids import KeyId, is_id
from keystead.domain.keys import UNSET, Unset
from keystead.domain.scopes import ScopeCatalog, Scopes
from keystead.domain.token import parse, trim


def key_id_of(text: str) -> KeyId:
    """The id that was given. A token given in its place is known to the shell's history: said, and not repeated."""
    if is_id("key", text):
        return KeyId(text)
    token = parse(trim(text))
    if token is not None:
        raise Failure(
            f"That is a token, which belongs in no command line. The id of its key is {token.key_id};"
            " revoke it if anybody could have seen it.",
            Exit.USAGE,
        )
    raise Failure("A key's id is key_ and 22 letters; `keystead keys list` shows them.", Exit.USAGE)


def end_of(text: str | None, now: datetime) -> datetime | None | Unset:
    """When a key shall end: None for never, UNSET where nothing was said."""
    if text is None:
        return UNSET
    try:
        return parse_expiry(text, now)
    except ValueError as error:
        raise Failure(f"--expires {error}.", Exit.USAGE) from None


def overlap_of(text: str) -> timedelta:
    """How long the old key still works."""
    try:
        return parse_span(text)
    except ValueError as error:
        raise Failure(f"--overlap {error}.", Exit.USAGE) from None


def scopes_of(asked: tuple[str, ...], catalog: ScopeCatalog) -> Scopes | Unset:
    """The scopes that were named, all known here; UNSET where none was."""
    unknown = [scope for scope in asked if scope not in catalog]
    if unknown:
        known = ", ".join(catalog.descriptions())
        raise Failure(f"There is no scope {unknown[0]}; there are {known}.", Exit.USAGE)
    return Scopes(asked) if asked else UNSET
