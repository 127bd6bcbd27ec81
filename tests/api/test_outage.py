"""The database away, over REST: live keys are never called dead, nor dead ones live."""

from __future__ import annotations

import httpx2

from tests.support.api_client import open_api, problem
from tests.support.postgres import PrivatePostgres, wait_until


def test_without_its_database_the_api_says_so(private_postgres: PrivatePostgres) -> None:
    """503 with Retry-After for a live key and for a revoked one, 401 for garbage; then all is as before."""
    name = private_postgres.create_database()
    with open_api(private_postgres.dsn(name)) as api:
        tenant = api.tenant()
        live, dead, garbage = tenant.client(), tenant.client(), api.client("ks_nonsense")
        live.delete(f"/v1/keys/{dead.key_id}")
        private_postgres.stop()
        for client in (live, dead):
            for answer in (client.get("/v1/whoami"), client.post("/v1/keys", {"description": "x"})):
                assert problem(answer) == (503, "unavailable")
                assert int(answer.headers["retry-after"]) >= 1
        assert problem(garbage.get("/v1/whoami")) == (401, "invalid-token")
        private_postgres.start()

        def back() -> bool:
            answers: list[httpx2.Response] = [live.get("/v1/keys") for _ in range(3)]
            return all(answer.status_code == 200 for answer in answers)

        wait_until(back, "the API answers again")
        assert problem(dead.get("/v1/whoami")) == (401, "invalid-token")
        assert live.post("/v1/keys", {"description": "x"}).status_code == 201
