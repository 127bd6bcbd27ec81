"""`keystead sign-in-link` makes a link that signs the owner of a workspace in, once."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from keystead.bootstrap import Installation
from keystead.cli.serve import export_lines
from keystead.domain.token import Secret
from keystead.operation.server.address import published
from keystead.settings import Settings
from tests.cli.conftest import Keystead
from tests.support.postgres import wait_until
from tests.support.processes import KEYSTEAD
from tests.support.server_process import serving

LINK = re.compile(r"http://127\.0\.0\.1:8080/sign-in\?link=(\S{43})\n")


def test_the_link_signs_the_owner_in(keystead: Keystead, installation: Installation) -> None:
    """The printed link signs in the owner of the first workspace."""
    printed = LINK.fullmatch(keystead("sign-in-link").out)
    assert printed is not None
    signed_in = installation.services.sign_in.redeem(Secret(printed[1]))
    assert signed_in.member == installation.services.workspaces.first()


def test_the_link_has_the_url_from_the_data_folder(
    keystead: Keystead, installation: Installation
) -> None:
    """The running server's file counts, if it has a URL; a stopping server removes only its own."""
    folder = installation.settings.data
    with published(folder, "http://127.0.0.1:8090"):
        assert keystead("sign-in-link").out.startswith("http://127.0.0.1:8090/sign-in?link=")
        with published(folder, "http://127.0.0.1:8091"):
            pass
        (folder / "address").write_text("http://127.0.0.1:8092")
    assert keystead("sign-in-link").out.startswith("http://127.0.0.1:8092/sign-in?link=")
    with published(folder, "https://kéys.example.com"):
        assert keystead("sign-in-link").out.startswith("https://kéys.example.com/sign-in?link=")
    (folder / "address").write_text("javascript:alert(1)")
    assert LINK.fullmatch(keystead("sign-in-link").out)


@pytest.mark.slow
def test_the_link_leads_to_the_server_that_runs(tmp_path: Path) -> None:
    """Its options decide: the server stores its URL in the data folder while it runs."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    command = ("sign-in-link", "--data", str(data))
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def link() -> str:
        return subprocess.run(
            [KEYSTEAD, *command],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    with serving(f"sqlite:///{data / 'keystead.db'}") as server:
        assert stat.S_IMODE((data / "address").stat().st_mode) == 0o600
        assert link().startswith(f"{server.base_url}/sign-in?link=")
        environment["KEYSTEAD_PUBLIC_URL"] = "https://keys.example.com"
        assert link().startswith("https://keys.example.com/sign-in?link=")
        del environment["KEYSTEAD_PUBLIC_URL"]
        wait_until(lambda: "Ctrl+C" in server.output(), "the greeting")
        shown = server.output()
        assert f"is running at {server.base_url}\n" in shown
        assert f"export KEYSTEAD_DATA={data}\n" in shown
        assert f"export KEYSTEAD_URL={server.base_url}\n" in shown
        assert server.stop() == 0
    assert not (data / "address").exists()
    assert link().startswith("http://127.0.0.1:8080/sign-in?link=")


def test_commands_that_find_the_server_need_no_variables() -> None:
    """With the default folder and port no variable is shown; with others, both exports are."""
    assert export_lines(Settings()) == []
    for other in (Settings(port=8090), Settings(data=Path("a b"))):
        *_, data, url = export_lines(other)
        assert data == f"  export KEYSTEAD_DATA={shlex.quote(str(other.data.absolute()))}"
        assert url == f"  export KEYSTEAD_URL=http://127.0.0.1:{other.port}"


def test_a_workspace_may_be_named(keystead: Keystead, installation: Installation) -> None:
    """The option takes a name or an ID; an unknown workspace, and one without an owner, are refused in words."""
    workspace = installation.services.workspaces.create("Globex", owner="Hank")
    result = keystead("sign-in-link", "--workspace", "Globex", "--json")
    secret = Secret(result.json["url"].partition("link=")[2])
    assert installation.services.sign_in.redeem(secret).member.workspace_id == workspace.id
    assert result.json["expires_at"].endswith("Z")
    assert keystead("sign-in-link", "--workspace", "Initech").code == 1
    assert keystead("sign-in-link", "--workspace", "Acme").code == 1
