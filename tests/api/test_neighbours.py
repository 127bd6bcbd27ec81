"""Each workspace has its share of a process's calls: waiting calls don't delay other workspaces."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.support.api_client import ApiClient, ApiInstallation, safe_text

CALLS: Final = 80


def test_calls_that_wait_for_a_lock_hold_up_nobody_else(postgresql_api: ApiInstallation) -> None:
    """While a workspace's changes wait for its lock, more of them than there are threads, another one is served."""
    busy, honest = postgresql_api.tenant(), postgresql_api.tenant()
    many, one = busy.client(), honest.client()
    database = postgresql_api.installation.database

    async def run() -> None:
        with database.write(busy.id):
            waiting = [asyncio.ensure_future(_create(many)) for _ in range(CALLS)]
            await asyncio.sleep(0)
            assert await _create(one) == 201
            assert (await one.send_on_loop("GET", "/v1/keys")).status_code == 200
            # Those that run give up after seconds. Without places every thread was theirs until half of them had.
            assert sum(each.done() for each in waiting) < CALLS / 3
        assert 201 in await asyncio.gather(*waiting)

    postgresql_api.runner.run(run())


async def _create(client: ApiClient) -> int:
    answer = await client.send_on_loop("POST", "/v1/keys", {"description": "k"})
    assert answer.status_code in {201, 503}, safe_text(answer)
    return answer.status_code
