"""Each workspace has its share of a process's calls: waiting calls don't delay other workspaces."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.support.api_client import ApiClient, ApiInstallation, safe_text

CALLS: Final = 80


def test_calls_that_wait_for_a_lock_do_not_delay_others(postgresql_api: ApiInstallation) -> None:
    """If more changes of one workspace wait for its lock than there are threads, another workspace is served."""
    busy, honest = postgresql_api.tenant(), postgresql_api.tenant()
    many, client = busy.client(), honest.client()
    database = postgresql_api.installation.database

    async def run() -> None:
        with database.write(busy.id):
            waiting = [asyncio.ensure_future(_create(many)) for _ in range(CALLS)]
            await asyncio.sleep(0)
            assert await _create(client) == 201
            assert (await client.send_on_loop("GET", "/v1/keys")).status_code == 200
            # Running ones give up after seconds. Without shares they would hold all threads until then.
            assert sum(each.done() for each in waiting) < CALLS / 3
        assert 201 in await asyncio.gather(*waiting)

    postgresql_api.runner.run(run())


async def _create(client: ApiClient) -> int:
    answer = await client.send_on_loop("POST", "/v1/keys", {"description": "k"})
    assert answer.status_code in {201, 503}, safe_text(answer)
    return answer.status_code
