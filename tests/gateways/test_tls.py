"""TLS at the gateway, and from there to Keystead: the options of `keystead gateway` do what they say."""

from __future__ import annotations

import ssl
from dataclasses import replace
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from keystead.operation.gateways import Address
from tests.support.certificates import self_signed
from tests.support.gateways import EACH, NGINX, Gateway, running_setup, setup
from tests.support.raw_http import application, recorder
from tests.support.server_process import HOST, free_port, serving


def status(port: int, certificate: Path, token: str) -> int:
    """The status of a request that checks the gateway's certificate."""
    context = ssl.create_default_context(cafile=str(certificate))
    line = HTTPSConnection(HOST, port, timeout=20, context=context)
    try:
        line.request("GET", "/documents/a", headers={"Authorization": f"Bearer {token}"})
        return line.getresponse().status
    finally:
        line.close()


@pytest.mark.slow
@pytest.mark.parametrize("gateway", EACH)
def test_tls_on_both_sides(gateway: Gateway, tmp_path: Path) -> None:
    """A valid key passes; with an untrusted certificate of Keystead no key does."""
    pairs = []
    for name in ("trusted", "other"):
        (tmp_path / name).mkdir()
        pairs.append(self_signed(tmp_path / name))
    (certificate, key), (other, _) = pairs
    key.chmod(0o600)
    own = ("--tls-cert", str(certificate), "--tls-key", str(key))
    url = f"sqlite:///{tmp_path / 'keystead.db'}"
    with (
        recorder(application) as behind,
        serving(url, arguments=own, scheme="https") as keystead,
    ):
        token = keystead.token("documents:read")
        for authorities in (certificate, other):
            made = replace(
                setup(free_port(), [0], behind.port),
                # nginx checks names alone; the certificate has this one as its common name.
                keysteads=[Address("localhost" if gateway is NGINX else HOST, keystead.port, True)],
                certificate=str(certificate),
                key=str(key),
                authorities=str(authorities),
            )
            folder = tmp_path / authorities.parent.name / "gateway"
            folder.mkdir()
            with running_setup(gateway, folder, made):
                got = status(made.listen.port, certificate, token)
            assert (got == 200) == (authorities == certificate), got
            assert got in {200, 500, 503}
        assert len(behind.requests) == 1
