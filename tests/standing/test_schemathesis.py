"""The whole API against its description, with generated requests: nothing breaks or surprises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    positive_data_acceptance,
)

from keystead.api.operations import IF_MATCH
from keystead.domain.principals import Actor, PrincipalKind
from keystead.http.asgi import App, Receive, Scope, Send
from tests.support.api_client import BASE, ApiClient, ApiInstallation, open_api
from tests.support.described_calls import DOCUMENTS
from tests.support.postgres import PostgresServer

# A description gives the form of a value; a form does not say whether an expiry is past or a cursor fits.
# And one path is two resources: POST …/documents/batch, and the document that is called batch.
NOT_TOLD = [positive_data_acceptance, allow_header_conformance]
BY = Actor(PrincipalKind.OPERATOR, "tests", "tests")
HEADS = {"The path is malformed.", "The query holds a control character."}
QUIETLY = settings(
    max_examples=10,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Served:
    """The application of the running test, which gets requests from this machine."""

    def __init__(self) -> None:
        self.app: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            raise NotImplementedError
        assert self.app is not None
        await self.app({**scope, "client": ("127.0.0.1", "50000")}, receive, send)


SERVED = Served()
generated = GenerationConfig(with_security_parameters=False)
WORKSPACE, OPERATOR = DOCUMENTS.values()
BOTH = WORKSPACE | {
    "paths": WORKSPACE["paths"] | OPERATOR["paths"],
    "components": {
        kind: by_name | OPERATOR["components"].get(kind, {})
        for kind, by_name in WORKSPACE["components"].items()
    },
}
SCHEMA = schemathesis.openapi.from_dict(
    BOTH,
    config=SchemathesisConfig(projects=ProjectsConfig(default=ProjectConfig(generation=generated))),
).include(path_regex="^/(v1|operator)/")
SCHEMA.app = SERVED


@pytest.fixture(scope="module")
def sqlite_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiInstallation]:
    """Open an installation on SQLite."""
    folder = tmp_path_factory.mktemp("schemathesis")
    with open_api(f"sqlite:///{folder / 'keystead.db'}") as api:
        yield api


@pytest.fixture(scope="module")
def postgresql_api(postgres: PostgresServer) -> Iterator[ApiInstallation]:
    """Open an installation on PostgreSQL."""
    name = postgres.create_database()
    with open_api(postgres.dsn(name)) as api:
        yield api
    postgres.drop_database(name)


@dataclass(frozen=True)
class Home:
    """An installation with a key of every scope, one of everything, and the product's backend."""

    api: ApiInstallation
    client: ApiClient
    operator: ApiClient


@pytest.fixture
def homes(sqlite_api: ApiInstallation, postgresql_api: ApiInstallation) -> list[Home]:
    """Return one on each engine."""
    homes = []
    for api in (sqlite_api, postgresql_api):
        client = api.tenant().client()
        client.put(f"{client.collection()}/documents/passwords", {"text": "x"})
        _, token = api.services.credentials.create("backend", BY)
        homes.append(Home(api, client, api.client(token.reveal())))
    return homes


def at_home(case: Any, client: ApiClient) -> None:
    """Send well-formed requests to existing objects; otherwise nearly every response would be 404.

    What is malformed goes without a condition, unless the condition is malformed: 412 comes before 422,
    so a well-formed condition that does not hold would hide the fault.
    """
    if case.meta is None:
        return
    if case.meta.generation.mode.is_negative:
        fields = case.meta.components.get(ParameterLocation.HEADER)
        if fields is None or not fields.mode.is_negative:
            case.headers.pop(IF_MATCH.name, None)
        return
    if is_for_operators(case):
        if "id" in case.path_parameters:
            case.path_parameters["id"] = client.api.tenant().id
        return
    if "name" in case.path_parameters:
        case.path_parameters["name"] = "handbook"
    elif "id" in case.path_parameters:
        case.path_parameters["id"] = client.create_key()["id"]


def is_for_operators(case: Any) -> bool:
    """Return whether the call is for the product's own services."""
    return bool(case.operation.path.startswith("/operator/"))


@SCHEMA.parametrize()
@QUIETLY
def test_every_answer_is_one_that_is_described(case: Any, homes: list[Home]) -> None:
    """Responses are as described, none is 5xx, and wrong requests are refused; a stranger learns nothing."""
    SERVED.app = homes[0].api.app
    require_nothing_is_learnt(case)
    for home in homes:
        SERVED.app = home.api.app
        at_home(case, home.client)
        caller = home.operator if is_for_operators(case) else home.client
        case.call_and_validate(
            base_url=BASE,
            headers={"Authorization": f"Bearer {caller.token}"},
            excluded_checks=NOT_TOLD,
        )


def require_nothing_is_learnt(case: Any) -> None:
    """Send it without a key: 401 after a look at the head, whatever the values and the body are."""
    problem = case.call(base_url=BASE, headers={}).json()
    if problem["code"] == "invalid-request":
        assert problem["detail"] in HEADS
    else:
        assert problem["code"] in {"unauthenticated", "method-not-allowed"}
