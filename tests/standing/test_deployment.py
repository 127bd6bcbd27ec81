"""The files to deploy with: accepted by the tools that they are for, and as closed as they can be."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from keystead import __version__, bootstrap
from keystead.cli.outcome import Exit
from keystead.operation.server.serving import STOP_SECONDS
from keystead.settings import SECRETS, Settings, read_server_settings, read_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "keystead.service"
EACH: list[dict[str, Any]] = [
    manifest
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for manifest in yaml.safe_load_all(file.read_text())
]
MANIFESTS = [pytest.param(each, id=each["kind"]) for each in EACH]
WORKLOADS = [each for each in MANIFESTS if each.id in {"Deployment", "Job"}]
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
LAST_STAGE = (DEPLOY / "Containerfile").read_text().rpartition("FROM ")[2]
IMAGE = dict(re.findall(r"(KEYSTEAD_[A-Z_]+)=(\S+)", LAST_STAGE))
KUBERNETES = "1.37"
MOST_EXPOSED = 15
"""A tenth of it is the highest exposure that `systemd-analyze security` may report, of 10."""


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """It has no unknown or misspelled setting, and its exposure is low."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze on this machine; it comes with Debian's package systemd")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/keystead/bin/keystead", sys.executable))
    for command in (
        ("verify", "--man=no", unit),
        ("security", "--offline=true", f"--threshold={MOST_EXPOSED}", unit),
    ):
        done = subprocess.run([analyze, *command], capture_output=True, text=True, check=False)
        assert (done.returncode, "nknown" in done.stderr) == (0, False), done.stdout + done.stderr


def test_the_unit_fits_the_server() -> None:
    """The unit never restarts a wrong configuration, waits for requests, and names real commands."""
    unit = ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT.read_text())
    service = unit["Service"]
    never_again = {int(code) for code in service["RestartPreventExitStatus"].split()}
    assert never_again == {Exit.USAGE, Exit.CONFIGURATION}
    assert int(service["TimeoutStopSec"]) > STOP_SECONDS
    assert service["ExecStart"].endswith("/keystead serve")
    assert service["KillMode"] == "mixed"


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_kubernetes_accepts_the_manifests(manifest: dict[str, Any]) -> None:
    """Each is valid by the schema of the API, and none of its members is unknown there."""
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_the_manifests_are_complete() -> None:
    """A server that several pods share, its service, its budget of disruptions, and its migration."""
    assert [each.id for each in MANIFESTS] == [
        "Job",
        "Deployment",
        "Service",
        "PodDisruptionBudget",
    ]
    broken = manifest_of("Job") | {"spec": {"templates": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES, strict=True)


@pytest.mark.parametrize("manifest", WORKLOADS)
def test_a_pod_may_do_nothing_that_it_needs_not(manifest: dict[str, Any]) -> None:
    """No root, no writable root, no capability, no token of Kubernetes; bounded, and secrets only by file."""
    pod = manifest["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"requests", "limits"} <= container["resources"].keys()
    assert names(container["env"]) <= set(Settings.model_fields) - SECRETS
    [secret] = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert secret["defaultMode"] == 0o440


def test_every_image_is_of_this_version() -> None:
    """The manifests and Compose name the version of the repository, and so does the migration's Job."""
    files = [*(DEPLOY / "kubernetes").glob("*.yaml"), DEPLOY / "compose.yaml"]
    texts = "".join(file.read_text() for file in files)
    assert set(re.findall(r"(?:keystead:|keystead-migrate-)([\d.]+\d)", texts)) == {__version__}


def test_the_server_is_probed() -> None:
    """A pod gets requests only while it is ready, and stops within its grace."""
    deployment = manifest_of("Deployment")
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"]
        for name in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    assert pod["terminationGracePeriodSeconds"] > STOP_SECONDS + 5
    budget = manifest_of("PodDisruptionBudget")
    assert budget["spec"]["minAvailable"] < deployment["spec"]["replicas"]


def manifest_of(kind: str) -> dict[str, Any]:
    """Return the one manifest of that kind."""
    [manifest] = [each for each in EACH if each["kind"] == kind]
    return manifest


def names(variables: list[dict[str, str]]) -> set[str]:
    """Return the settings that a container's variables are."""
    return {each["name"].removeprefix("KEYSTEAD_").lower() for each in variables}


def test_compose_is_as_closed() -> None:
    """Its containers of Keystead have a read-only root, no root, no capability, and secrets only by file."""
    for name in ("keystead", "migrate"):
        service = COMPOSE["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert not service["user"].startswith("0")
        settings = {each.removeprefix("KEYSTEAD_").lower() for each in service["environment"]}
        assert settings <= set(Settings.model_fields) - SECRETS
        files = {each if isinstance(each, str) else each["target"] for each in service["secrets"]}
        assert files <= SECRETS
        assert {each["source"] for each in service["secrets"] if isinstance(each, dict)} <= set(
            COMPOSE["secrets"]
        )


def test_compose_migrates_only_a_database_that_stays() -> None:
    """While the image sets its database up, PostgreSQL answers on the Unix socket alone, so TCP is probed."""
    _, probe = COMPOSE["services"]["database"]["healthcheck"]["test"]
    assert "pg_isready -h 127.0.0.1 " in probe


def test_the_container_is_not_root() -> None:
    """The last stage names a numeric user, which Kubernetes can check, and keeps no builder's file."""
    user = re.search(r"^USER (\d+):\d+$", LAST_STAGE, re.MULTILINE)
    assert user is not None
    assert int(user[1]) >= 10_000
    assert "pip install" not in LAST_STAGE
    settings = {name.removeprefix("KEYSTEAD_").lower() for name in IMAGE}
    assert settings <= set(Settings.model_fields)


def test_the_build_sees_only_what_the_image_needs() -> None:
    """The context has what the Containerfile copies from it, and no secrets, data or virtual environment."""
    first, *allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert first == "*"
    stages = (DEPLOY / "Containerfile").read_text()
    [copied] = re.findall(r"^COPY (?!--)(.+) \S+$", stages, re.MULTILINE)
    assert sorted(allowed) == sorted(f"!{each.removesuffix('/*.whl')}" for each in copied.split())


def containers() -> dict[str, tuple[str, dict[str, str]]]:
    """Return the command and the variables of each of our containers, by where it is described."""
    described = {}
    for manifest in (manifest_of("Job"), manifest_of("Deployment")):
        [container] = manifest["spec"]["template"]["spec"]["containers"]
        variables = {each["name"]: each["value"] for each in container["env"]}
        described[manifest["kind"]] = (container["args"][0], variables)
    for name in ("keystead", "migrate"):
        service = COMPOSE["services"][name]
        [command] = service.get("command", ["serve"])
        described[f"Compose: {name}"] = (command, service["environment"])
    return described


@pytest.mark.parametrize("name", containers())
def test_a_container_accepts_its_settings_and_its_volume(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No setting of image and manifest is refused, and the data is private on a volume that a group may write to.

    Kubernetes gives a volume with `fsGroup` the mode 2777 or 2775.
    """
    command, variables = containers()[name]
    variables = IMAGE | variables
    volume, secrets = tmp_path / "data", tmp_path / "secrets"
    volume.mkdir()
    volume.chmod(0o2777)
    secrets.mkdir()
    (secrets / "database").write_text("postgresql://db.internal/keystead?sslmode=verify-full")
    (secrets / "database").chmod(0o440)
    data = variables["KEYSTEAD_DATA"]
    assert data.startswith("/data")
    monkeypatch.chdir(tmp_path)
    for key, value in variables.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("KEYSTEAD_DATA", f"{tmp_path}{data}")
    monkeypatch.setenv("KEYSTEAD_SECRETS", str(secrets))
    settings = read_server_settings() if command == "serve" else read_settings()
    bootstrap.make_place(settings)


@pytest.mark.parametrize("way", ["With Compose", "On Kubernetes"])
def test_the_role_has_a_password_before_servers_need_it(way: str) -> None:
    """The migration creates the servers' role without one; the guide sets it before they start."""
    guide = (ROOT / "docs" / "guides" / "install.md").read_text()
    steps = guide.split(f"## {way}\n", 1)[1].split("```sh\n", 1)[1].split("```", 1)[0]
    password = steps.index("\\password keystead_server")
    assert steps.index("migrat") < password < max(steps.find("up -d"), steps.find("server.yaml"))
