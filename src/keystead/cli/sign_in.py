"""`keystead sign-in-link`: a single-use link that signs in the owner of a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.cli import render
from keystead.cli.installation import WorkspaceName, opened
from keystead.cli.options import HERE, Json, Place

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.bootstrap import Installation


def sign_in_link(
    *, workspace: WorkspaceName = None, place: Place = HERE, json: Json = False
) -> None:
    """Print a single-use link that signs the owner of a workspace in to the Developer area within 15 minutes.

    The default workspace is the oldest one. The link leads to KEYSTEAD_PUBLIC_URL or the running server.
    """
    from keystead.domain.instants import format_instant
    from keystead.operation.listening import published_url

    with opened(place) as installation:
        settings = installation.settings
        # A running server stores its URL in a file, because its options may differ from this command's.
        running = None if settings.public_url else published_url(settings.data)
        url, expires_at = fresh_link(installation, running or settings.base_url, workspace)
    if json:
        render.print_json({"url": url, "expires_at": format_instant(expires_at)})
    else:
        render.print_line(url)


def fresh_link(
    installation: Installation, server: str, workspace: str | None = None
) -> tuple[str, datetime]:
    """Return a single-use link for the workspace's owner, and when it expires.

    The default workspace is the first one, which is created if there is none.
    """
    services = installation.services
    if workspace is None:
        owner = services.workspaces.first()
    else:
        owner = services.workspaces.owner(services.workspaces.named(workspace).id)
    secret, expires_at = services.sign_in.make_link(owner)
    return f"{server}/sign-in?link={secret.reveal()}", expires_at
