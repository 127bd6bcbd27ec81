"""Every call of the API with every kind of credential: each opens only its own calls."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from keystead.api.operations import KEY, OPERATOR
from keystead.domain.credentials import CredentialKind
from keystead.domain.principals import Actor, PrincipalKind
from keystead.domain.renewals import Renewal
from keystead.storage.schema import tables as schema
from tests.support.administrator import read_behind
from tests.support.api_client import ApiClient, ApiInstallation, Tenant, open_api, problem
from tests.support.described_calls import CALLS, sample_body

BY = Actor(PrincipalKind.OPERATOR, "tests", "tests")


@pytest.fixture
def api(database_url: str) -> Iterator[ApiInstallation]:
    """An installation for each test, on each engine: the digest of rows reads all of it."""
    with open_api(database_url) as api:
        yield api


def credential(api: ApiInstallation, kind: CredentialKind) -> tuple[str, str]:
    """Return the id and the token of a new credential of that kind."""
    created, token = api.services.credentials.create("tests", BY, kind)
    return created.id, token.reveal()


def callers(tenant: Tenant) -> dict[str, ApiClient]:
    """Return credentials of each kind, active and not."""
    api = tenant.api
    operator, service = (credential(api, kind)[1] for kind in CredentialKind)
    ended, revoked = credential(api, CredentialKind.OPERATOR)
    api.services.credentials.revoke(ended, BY)  # type: ignore[arg-type]
    tokens = {"operator": operator, "service": service, "revoked": revoked}
    known = {name: api.client(token) for name, token in tokens.items()}
    return known | {"key": tenant.client(), "nobody": api.client()}


def requests(tenant: Tenant) -> Iterator[tuple[str, str, str, Any]]:
    """Yield the scheme, method, path and body of every call, valid as far as ids allow."""
    for path, method, operation in CALLS:
        (scheme,) = operation["security"][0]
        known = path.replace("{workspace}", tenant.id).replace("{name}", "handbook")
        sent = re.sub(r"\{\w+\}", "none", known)
        yield scheme, method.upper(), sent, sample_body(operation)


def rows(api: ApiInstallation) -> str:
    """Return a digest of everything in the database."""
    digest = hashlib.sha256()
    with read_behind(api.installation.database) as tx:
        for table in schema.metadata.sorted_tables:
            digest.update(repr((table.name, sorted(map(repr, tx.execute(select(table)))))).encode())
    return digest.hexdigest()


def test_each_call_accepts_only_its_own_credential(api: ApiInstallation) -> None:
    """Keys fail on operators' calls and service credentials on workspaces': 401, and no change."""
    tenant = api.tenant()
    by_name = callers(tenant)
    api.services.usage.flush()
    before, calls = rows(api), 0
    opens = {OPERATOR: "operator", KEY: "key"}
    for scheme, method, path, body in requests(tenant):
        for name in by_name.keys() - {opens[scheme]}:
            for sent in (body, {"nonsense": 1}):
                answer = by_name[name].send(method, path, sent)
                code = "unauthenticated" if name == "nobody" else "invalid-token"
                assert problem(answer) == (401, code), (name, method, path)
                assert answer.headers["www-authenticate"].startswith('Bearer realm="keystead"')
                calls += 1
    api.services.usage.flush()
    assert rows(api) == before
    assert calls >= 200


def test_each_call_accepts_its_own_credential(api: ApiInstallation) -> None:
    """The control: no call answers 401 to its own credential."""
    tenant = api.tenant()
    by_name = callers(tenant)
    opens = {OPERATOR: "operator", KEY: "key"}
    for scheme, method, path, body in requests(tenant):
        caller = tenant.client(renewal=Renewal()) if scheme == KEY else by_name[opens[scheme]]
        assert caller.send(method, path, body).status_code not in {401, 403, 500}, (method, path)
