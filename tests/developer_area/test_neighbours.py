"""Each workspace has a share of the pages' capacity, which only its members use."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import httpx2
import pytest

from keystead.domain.sessions import TOUCH_INTERVAL
from keystead.domain.workspaces import Role
from tests.developer_area.conftest import Area
from tests.support.browser import ORIGIN, Browser

MANY: Final = 160
"""Simultaneous requests of one browser: more than there are places of any kind."""


@pytest.mark.parametrize("names", ["one workspace", "many workspaces"])
def test_strangers_use_up_no_share_of_a_workspace(area: Area, names: str) -> None:
    """Another user's requests, to a workspace or to invented ones, do not delay its members."""
    other = area.services.workspaces.create("Other", plan_id="scale").id
    stranger = area.signed_in(area.member(Role.OWNER, other))
    member = area.signed_in()
    area.clock.advance(TOUCH_INTERVAL + timedelta(seconds=1))
    assert member.open(area.keys_url).status == 200  # from here on its requests only read
    wanted = [
        area.keys_url if names == "one workspace" else f"/w/ws_{number}/keys"
        for number in range(MANY)
    ]

    async def run() -> None:
        # The outsider's session is written as seen, which waits for the single writer.
        with area.installation.database.write(other):
            requests = [asyncio.ensure_future(_open(stranger, "192.0.2.9", url)) for url in wanted]
            await asyncio.sleep(0)
            assert await _open(member, "192.0.2.1", area.keys_url) == 200
            # Requests in progress give up after some seconds, and others take their places.
            assert sum(each.done() for each in requests) < MANY / 2
        # What waited too long for the writer was given up with 503; how many did is the machine's affair.
        assert set(await asyncio.gather(*requests)) <= {404, 503}

    asyncio.run(run())


async def _open(browser: Browser, address: str, url: str) -> int:
    """Return the status of a page that is requested from that address."""
    transport = httpx2.ASGITransport(browser.app, client=(address, 50_000))
    async with httpx2.AsyncClient(transport=transport, cookies=browser.cookies) as client:
        return (await client.get(f"{ORIGIN}{url}", timeout=300)).status_code
