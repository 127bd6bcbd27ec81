"""Third-party clients, unchanged: they use introspection as the standard says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2 import ResourceProtector
from authlib.oauth2.rfc6750 import InsufficientScopeError, InvalidTokenError
from authlib.oauth2.rfc7662 import IntrospectTokenValidator

from keystead import bootstrap
from keystead.domain.credentials import CredentialKind
from tests.support.gate import OPERATOR
from tests.support.server_process import ServerProcess, serving

NODE: Final = "KEYSTEAD_TEST_NODE"
"""A folder in which `npm install oauth4webapi` was run."""
SCRIPT: Final = Path(__file__).parent / "stranger.mjs"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A real server."""
    with serving(f"sqlite:///{tmp_path_factory.mktemp('strangers') / 'keystead.db'}") as started:
        started.put_on("scale")
        yield started


@pytest.fixture(scope="module")
def credential(server: ServerProcess) -> tuple[str, str]:
    """ID and token of a service's credential: the client ID and secret of OAuth."""
    installation = bootstrap.open_safely(server.settings)
    try:
        kind = CredentialKind.SERVICE
        created, token = installation.services.credentials.create("search", OPERATOR, kind)
        return created.id, token.reveal()
    finally:
        installation.close()


def guarded(server: ServerProcess, credential: tuple[str, str]) -> ResourceProtector:
    """Return Authlib's resource server, whose validator uses Authlib's own client."""
    asking = OAuth2Session(*credential, token_endpoint_auth_method="client_secret_basic")

    class Validator(IntrospectTokenValidator):  # type: ignore[misc]
        """The validator from Authlib's documentation."""

        def introspect_token(self, token_string: str) -> Any:
            """Ask the server."""
            answer = asking.introspect_token(f"{server.base_url}/introspect", token=token_string)
            answer.raise_for_status()
            return answer.json()

    protector = ResourceProtector()
    protector.register_token_validator(Validator())
    return protector


def test_authlib(server: ServerProcess, credential: tuple[str, str]) -> None:
    """Its validator accepts a good token, and refuses a dead one, and one without the scope, by its own rules."""
    protector = guarded(server, credential)
    token = server.token("documents:read", "plan:read")
    request = SimpleNamespace(headers={"Authorization": f"Bearer {token}"})
    active = protector.validate_request(["documents:read"], request)
    assert active["client_id"] == f"key_{token.split('_')[1]}"
    assert active["sub"] == active["workspace"]["id"]
    with pytest.raises(InsufficientScopeError):
        protector.validate_request(["documents:write"], request)
    with OAuth2Session() as anybody:
        assert anybody.revoke_token(f"{server.base_url}/revoke", token=token).status_code == 200
    with pytest.raises(InvalidTokenError):
        protector.validate_request(["documents:read"], request)


def results_of_node(server: ServerProcess, credential: tuple[str, str], **more: object) -> Any:
    """Return the results of oauth4webapi."""
    if not shutil.which("node") or not os.environ.get(NODE):
        pytest.skip(f"no oauth4webapi here: `npm install oauth4webapi`, and {NODE}=<that folder>")
    sent = {"server": server.base_url, "client_id": credential[0], "client_secret": credential[1]}
    process = subprocess.run(
        ["node", SCRIPT], input=json.dumps(sent | more), capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.mark.prove
def test_oauth4webapi(server: ServerProcess, credential: tuple[str, str]) -> None:
    """A JavaScript library accepts the responses to a good token, a dead one, a revocation, and a bad credential."""
    token = server.token("documents:read")
    good = results_of_node(server, credential, token=token)
    assert (good["active"], good["scope"]) == (True, "documents:read")
    assert results_of_node(server, credential, token="ks_x") == {"active": False}
    refused = results_of_node(server, (credential[0], "wrong"), token=token)
    assert refused["status"] == 401
    assert results_of_node(server, credential, token=token, revoke=True) == {"active": False}
