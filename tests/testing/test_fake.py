"""The fake guard refuses as the real guards do, byte for byte, in every framework."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from keystead.domain.networks import Networks
from keystead.domain.rate_limits import RateExceeded, RatePolicy, RateSubject
from keystead.domain.verification import DenialReason, Denied
from keystead.http.asgi import Answer
from keystead.integrations import Guard
from keystead.integrations.fastapi import protect, require
from keystead.integrations.guard import RequestHead
from keystead.testing import (
    EmbeddedKeystead,
    FakeGuard,
    Principal,
    RateLimited,
    Scopes,
    Unavailable,
    embedded,
    fake_keystead,
)
from tests.support.callers import REQUIRED, ClientRequest, bearer
from tests.support.guarded_products import PRODUCTS, Product


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A real installation."""
    with embedded(tmp_path_factory.mktemp("real")) as keystead:
        yield keystead


@pytest.fixture(scope="module")
def tokens(real: EmbeddedKeystead) -> dict[str, str]:
    """Tokens of the real installation: of a good key, one without the scope, and a revoked one."""
    tokens = {name: real.create_key(REQUIRED) for name in ("good", "revoked")}
    real.revoke(tokens["revoked"])
    return tokens | {"wrong scope": real.create_key("plan:read")}


@pytest.fixture(scope="module")
def fake(tokens: dict[str, str]) -> FakeGuard:
    """A fake guard over the same tokens."""
    scopes = {"good": Scopes([REQUIRED]), "wrong scope": Scopes(["plan:read"])}
    return fake_keystead({tokens[name]: each for name, each in scopes.items()})


@pytest.mark.parametrize("framework", PRODUCTS)
def test_the_fake_answers_as_the_real_guard(
    real: EmbeddedKeystead, fake: FakeGuard, tokens: dict[str, str], framework: str
) -> None:
    """Status, challenge and body are the same for every kind of request; only the good key is admitted."""
    good = tokens["good"]
    requests = {name: ClientRequest((bearer(token),)) for name, token in tokens.items()} | {
        "no credentials": ClientRequest(),
        "another scheme": ClientRequest(((b"authorization", b"Basic a2V5OnNlY3JldA=="),)),
        "two fields": ClientRequest((bearer(good), bearer(good))),
        "garbage": ClientRequest((bearer("garbage"),)),
        "in the query": ClientRequest((bearer(good),), f"access_token={good}"),
    }
    for name, request in requests.items():
        answers, products = [], [Product(), Product()]
        for guard, product in zip((real.guard, fake), products, strict=True):
            answers.append(PRODUCTS[framework](guard, product)(request))
        assert answers[0] == answers[1], name
        assert [len(product.served) for product in products] == 2 * [name == "good"], name


def refusal(guard: Guard, token: str, address: str | None = None) -> Answer:
    """Return the refusal of a request with that token."""
    with pytest.raises(Exception) as refused:  # noqa: PT011 - whatever it is, the guard answers it
        guard.admit(RequestHead((bearer(token),), address=address), REQUIRED)
    return guard.answer(refused.value)


def test_the_errors_of_a_test_are_answered_as_the_real_ones() -> None:
    """429 and 503 have the bytes of the real problems, in each of two requests."""
    exceeded = RateExceeded(RatePolicy(RateSubject.KEY, 60), 7)
    real = Denied(DenialReason.RATE_LIMITED, exceeded=exceeded).refusal(REQUIRED)
    assert isinstance(real, RateLimited)
    fake = fake_keystead({"busy": RateLimited(7, exceeded.detail, exceeded), "away": Unavailable()})
    for _ in range(2):
        assert refusal(fake, "busy") == fake.answer(real)
        assert refusal(fake, "away").status == 503
    assert dict(refusal(fake, "busy").headers)[b"retry-after"] == b"7"


def test_a_whole_principal_is_judged_as_a_key() -> None:
    """An expired key and one outside of its networks get 401; another one comes back as it was given."""
    key = Principal.of_key("key_1", "nightly export", "ws_7", Scopes([REQUIRED]))
    ended = replace(key, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    bound = replace(key, networks=Networks("192.0.2.0/24"))
    fake = fake_keystead({"good": key, "ended": ended, "bound": bound})
    assert fake.admit(RequestHead((bearer("good"),)), REQUIRED) is key
    assert refusal(fake, "ended").status == refusal(fake, "bound", "198.51.100.1").status == 401
    inside = RequestHead((bearer("bound"),), address="192.0.2.7")
    assert fake.admit(inside, REQUIRED) is bound
    del fake.keys["good"]
    assert refusal(fake, "good").status == 401


def test_a_dependency_can_be_overridden_by_its_scope() -> None:
    """`require` returns one object for each scope, so FastAPI finds the override; other scopes stay guarded."""
    assert require("reports:read") is require("reports:read")
    assert require("reports:read") is not require("reports:write")
    app = FastAPI()
    protect(app, fake_keystead({}))

    @app.get("/{kind}")
    def read(key: Annotated[Principal, Depends(require("reports:read"))]) -> str:
        return key.workspace_id

    @app.post("/{kind}")
    def write(key: Annotated[Principal, Depends(require("reports:write"))]) -> str:
        return key.workspace_id

    key = Principal.of_key("key_1", "a test", "ws_7", Scopes())
    app.dependency_overrides[require("reports:read")] = lambda: key
    with TestClient(app) as client:
        assert client.get("/reports").json() == "ws_7"
        assert client.post("/reports").status_code == 401


def test_a_folder_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation in a folder keeps its keys, knows the application's own scopes, and needs no server.

    The settings of the developer's own installation, in the environment and the working folder, are not read.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keystead.toml").write_text("smtp = 'smtps://u:p@mail.example'")
    monkeypatch.setenv("KEYSTEAD_METRICS_PORT", "no number")
    with embedded(tmp_path, {"reports:read": "Read reports"}) as keystead:
        token = keystead.create_key("reports:read", description="nightly export")
    with embedded(tmp_path, {"reports:read": "Read reports"}) as keystead:
        principal = keystead.guard.admit(RequestHead((bearer(token),)), "reports:read")
        assert (principal.name, principal.workspace_id) == (
            "nightly export",
            keystead.workspace_id,
        )
        keystead.revoke(token)
        assert refusal(keystead.guard, token).status == 401
