"""The container: built from the repository's Containerfile over a plain Debian, and run with a read-only root."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from scripts import release
from tests.support.postgres import wait_until
from tests.support.server_process import HOST, free_port

ROOT: Final = Path(__file__).parents[2]
SUITE: Final = "bookworm"
PACKAGES: Final = "--include=python3,python3-venv,ca-certificates"
INDEX: Final = (
    Path("/etc/pip.conf"),
    Path("/etc/xdg/pip"),
    Path.home() / ".config" / "pip",
    Path("/etc/ssl/certs"),
)
"""Where this machine says which package index to use, and whom to trust; the build sees them, the image doesn't."""
USER: Final = "10001"
CONTAINED: Final = """
set -e
mount --make-rprivate /
mount --bind "$0" "$0"
mount -o remount,ro,bind "$0"
mount -t tmpfs tmpfs "$0/tmp"
mount -t tmpfs -o "mode=2777,uid=0,gid=$1" tmpfs "$0/data"
mount -t proc proc "$0/proc"
mount --bind /dev "$0/dev"
touch "$0/written" 2>/dev/null && exit 99
exec env -i PATH="/opt/keystead/bin:$PATH" KEYSTEAD_DATA=/data/keystead KEYSTEAD_HOST=0.0.0.0 \
  KEYSTEAD_TRUSTED_PROXIES=172.16.0.0/12 KEYSTEAD_PORT="$2" \
  chroot --userspec="$1:$1" "$0" sh -c "cd /data && exec keystead serve"
"""
"""Runs the image's command with a read-only root, as its user, over a volume of the mode that Kubernetes gives it.

An engine would need more than such a machine has.
"""

Buildah = Callable[..., str]


@pytest.fixture
def buildah(tmp_path: Path) -> Iterator[Buildah]:
    """The command, with a storage of its own; skips without root, buildah or debootstrap."""
    missing = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs root, and the Debian packages {', '.join(missing)}")
    storage = [f"--root={tmp_path / 'storage'}", f"--runroot={tmp_path / 'running'}"]

    def run(*arguments: str | Path) -> str:
        command = ["buildah", *storage, *map(str, arguments)]
        return release.run(command, ROOT, {"BUILDAH_ISOLATION": "chroot"}).strip()

    yield run
    run("umount", "--all")
    run("rm", "--all")
    run("rmi", "--all", "--force")


@pytest.mark.prove
@pytest.mark.timeout(3600)  # a Debian and all dependencies are installed
def test_the_container_serves_with_a_read_only_root(tmp_path: Path, buildah: Buildah) -> None:
    """The image is built, its server becomes ready as a user without rights, and stops with SIGTERM and code 0."""
    base = tmp_path / "base"
    release.run(["debootstrap", "--variant=minbase", PACKAGES, SUITE, str(base)])
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, base, "/")
    buildah("commit", "--quiet", "--disable-compression", container, "base")

    context = tmp_path / "context"
    built = release.build(release.run(["git", "rev-parse", "HEAD"]).strip(), tmp_path / "release")
    shutil.copytree(built, context / "dist")
    shutil.copytree(ROOT / "requirements", context / "requirements")
    shutil.copy(ROOT / ".dockerignore", context)
    volumes = [f"--volume={path}:{path}:ro" for path in INDEX if path.exists()]
    file = f"--file={ROOT / 'deploy' / 'Containerfile'}"
    options = (file, "--build-arg=BASE=localhost/base", "--disable-compression", "--tag=keystead")
    buildah("build", *options, *volumes, context)

    port, image = free_port(), buildah("mount", buildah("from", "localhost/keystead"))
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", CONTAINED, image, USER, str(port)]
    ) as server:
        try:
            wait_until(lambda: server.poll() is not None or _is_ready(port), "the server is ready")
            assert server.poll() is None
            server.send_signal(signal.SIGTERM)
            assert server.wait() == 0
        finally:
            server.kill()


def _is_ready(port: int) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{HOST}:{port}/readyz", timeout=5) as response:
            return bool(response.status == 200)
    except urllib.error.URLError:
        return False
