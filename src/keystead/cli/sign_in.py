"""`keystead sign-in-link`: a link that signs the owner of a workspace in, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.cli import render
from keystead.cli.operator import WorkspaceName
from keystead.cli.options import Json, Place

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.bootstrap import Installation

HERE: Final = Place()


def sign_in_link(
    *, workspace: WorkspaceName = None, place: Place = HERE, json: Json = False
) -> None:
    """Print a link that signs the owner of a workspace in to the Developer area, once, within 15 minutes.

    Without a workspace it is the oldest one's. The server's address is KEYSTEAD_PUBLIC_URL, or where it listens.
    """
    from keystead.cli.installation import opened
    from keystead.domain.instants import format_instant

    with opened(place) as installation:
        url, expires_at = fresh_link(installation, workspace)
    if json:
        render.print_json({"url": url, "expires_at": format_instant(expires_at)})
    else:
        render.print_line(url)


def fresh_link(installation: Installation, workspace: str | None = None) -> tuple[str, datetime]:
    """A one-time link for the owner of a workspace (the first, made if there is none), and until when it stands."""
    services = installation.services
    if workspace is None:
        owner = services.workspaces.first()
    else:
        owner = services.workspaces.owner(services.workspaces.named(workspace).id)
    secret, expires_at = services.sign_in.make_link(owner)
    return f"{installation.settings.base_url}/sign-in?link={secret.reveal()}", expires_at
