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
    from keystead.operation.server.address_file import published_url

    with opened(place) as installation:
        settings = installation.settings
        # What this command does not know of the server's options, the server itself has written down.
        running = None if settings.public_url else published_url(settings.data)
        url, expires_at = fresh_link(installation, running or settings.base_url, workspace)
    if json:
        render.print_json({"url": url, "expires_at": format_instant(expires_at)})
    else:
        render.print_line(url)


def fresh_link(
    installation: Installation, server: str, workspace: str | None = None
) -> tuple[str, datetime]:
    """Return a one-time link to `server` for a workspace's owner, and until when it works.

    Without a workspace it is the first one's, which is made if there is none.
    """
    services = installation.services
    if workspace is None:
        owner = services.workspaces.first()
    else:
        owner = services.workspaces.owner(services.workspaces.named(workspace).id)
    secret, expires_at = services.sign_in.make_link(owner)
    return f"{server}/sign-in?link={secret.reveal()}", expires_at
