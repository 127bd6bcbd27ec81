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

from keystead import __version__
from keystead.cli.outcome import Exit
from keystead.operation.server.serving import STOP_SECONDS
from keystead.settings import SECRETS, Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "keystead.service"
EACH: list[dict[str, Any]] = [
    manifest
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for manifest in yaml.safe_load_all(file.read_text())
]
MANIFESTS = [pytest.param(each, id=each["kind"]) for each in EACH]
WORKLOADS = [each for each in MANIFESTS if each.id in {"Deployment", "Job"}]
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
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for name in ("keystead", "migrate"):
        service = compose["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert not service["user"].startswith("0")
        settings = {each.removeprefix("KEYSTEAD_").lower() for each in service["environment"]}
        assert settings <= set(Settings.model_fields) - SECRETS
        files = {each if isinstance(each, str) else each["target"] for each in service["secrets"]}
        assert files <= SECRETS
        assert {each["source"] for each in service["secrets"] if isinstance(each, dict)} <= set(
            compose["secrets"]
        )


def test_the_container_is_not_root() -> None:
    """The last stage names a numeric user, which Kubernetes can check, and keeps no builder's file."""
    last = (DEPLOY / "Containerfile").read_text().rpartition("FROM ")[2]
    user = re.search(r"^USER (\d+):\d+$", last, re.MULTILINE)
    assert user is not None
    assert int(user[1]) >= 10_000
    assert "pip install" not in last
    environment = set(re.findall(r"KEYSTEAD_([A-Z_]+)=", last))
    assert {name.lower() for name in environment} <= set(Settings.model_fields)
