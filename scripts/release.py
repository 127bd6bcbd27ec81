"""Build a release of the last commit into `dist`, and try it.

    python3 scripts/release.py

Wheel and sdist are built twice, in different folders, and must be the same to the last byte. Each is installed into
a clean environment with the locked dependencies, where the README's sixty seconds must work. Both environments must
have the same bill of materials (CycloneDX), which becomes part of the release.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
DIST: Final = ROOT / "dist"
BIN: Final = ROOT / ".venv" / "bin"
REVISION: Final = Path("src/keystead/revision")
BLOCK: Final = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
KEY_ID: Final = re.compile(r"\bkey_\w{20,}")
START_SECONDS: Final = 60


def main() -> None:
    """Build, compare, describe and try the release; exit with a line that says what is wrong."""
    revision = run(["git", "rev-parse", "HEAD"]).strip()
    if run(["git", "status", "--porcelain", "--untracked-files=no"]).strip():
        say("note: changes that are not committed are not part of the release")
    with tempfile.TemporaryDirectory(prefix="keystead-release-") as folder:
        work = Path(folder)
        first, second = (build(revision, work / name) for name in ("one", "another"))
        if digests(first) != digests(second):
            sys.exit(f"release: two builds differ: {digests(first)} {digests(second)}")
        say("two builds are the same")
        [wheel], [sdist] = first.glob("*.whl"), first.glob("*.tar.gz")
        materials = f"{sdist.name.removesuffix('.tar.gz')}.cdx.json"
        for package, described in ((wheel, first), (sdist, second)):
            environment = install(package, work / package.suffix)
            sixty_seconds(environment, revision, work / f"data{package.suffix}")
            say(f"{package.name} works in a clean environment")
            describe(environment, described / materials)
        if digests(first) != digests(second):
            sys.exit("release: the bills of materials of wheel and sdist differ")
        sums = "".join(f"{digest}  {name}\n" for name, digest in digests(first).items())
        (first / "SHA256SUMS").write_text(sums)
        shutil.rmtree(DIST, ignore_errors=True)
        shutil.copytree(first, DIST)  # only now: `dist` never holds a release that failed
    print(sums, end="")


def say(line: str) -> None:
    """Print one line of progress."""
    print(f"release: {line}", file=sys.stderr, flush=True)


def run(
    command: list[str], folder: Path = ROOT, environment: Mapping[str, str] | None = None
) -> str:
    """Run a command to its end and return its output; exit with its errors if it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"release: {command[0]} failed\n{done.stdout}{done.stderr}")
    return done.stdout


def build(revision: str, folder: Path) -> Path:
    """Build the sdist of a commit, and from it the wheel. Returns their folder."""
    source, built = folder / "source", folder / "dist"
    source.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "archive", revision], cwd=ROOT, stdout=subprocess.PIPE, check=True
    ).stdout
    unpack(archive, source)
    (source / REVISION).write_text(f"{revision}\n")
    when = run(["git", "log", "-1", "--format=%ct", revision]).strip()
    hatch(source, "sdist", built, when)
    [sdist] = built.glob("*.tar.gz")
    unpack(sdist.read_bytes(), folder)
    hatch(folder / sdist.name.removesuffix(".tar.gz"), "wheel", built, when)
    return built


def unpack(archive: bytes, folder: Path) -> None:
    """Unpack a tar archive of ours."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opened.extractall(folder, filter="data")


def hatch(source: Path, target: str, built: Path, when: str) -> None:
    """Build one target, with the commit's time as that of every file."""
    command = [str(BIN / "python"), "-m", "hatchling", "build", "-t", target, "-d", str(built)]
    run(command, source, {"SOURCE_DATE_EPOCH": when})


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file."""
    files = sorted(file for file in folder.iterdir() if file.name != "SHA256SUMS")
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def install(package: Path, environment: Path) -> Path:
    """Install a package into a clean environment, with the locked dependencies alone."""
    run([sys.executable, "-m", "venv", str(environment)])
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    lock = str(ROOT / "requirements" / "server.lock")
    run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", lock])
    run([*pip, "--no-deps", "--no-build-isolation", "--no-index", str(package)])
    return environment


def describe(environment: Path, file: Path) -> None:
    """Write the bill of materials of an environment, the same for the same packages."""
    command = [str(BIN / "cyclonedx-py"), "environment", str(environment / "bin" / "python")]
    project = ["--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "application"]
    run([*command, *project, "--output-reproducible", "--of", "JSON", "-o", str(file)])


def sixty_seconds(environment: Path, revision: str, data: Path) -> None:
    """Run the README's lines against a server of the environment; nothing of this folder's code takes part."""
    keystead = environment / "bin" / "keystead"
    if revision not in run([str(keystead), "--version"]):
        sys.exit("release: `keystead --version` does not name the revision")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    place = {"KEYSTEAD_DATA": str(data), "KEYSTEAD_URL": url}
    create, push, revoke = BLOCK.findall((ROOT / "README.md").read_text())
    with serving(keystead, port, place):
        for path in ("/", "/healthz", "/openapi.json", "/docs", "/sign-in"):
            if revision[:12] in fetch(f"{url}{path}"):
                sys.exit(f"release: {path} names the revision")
        shown = sh(f'{create}\n{push}\necho "TOKEN=$KEYSTEAD_TOKEN"', keystead, url, place)
        token = shown.rpartition("TOKEN=")[2].strip()
        key_id = KEY_ID.findall(shown)[0]
        expect("created, 0 updated", shown)
        expect("key-revoked", shown)
        lines = revoke.replace("key_...", key_id)
        expect("401", sh(lines, keystead, url, {**place, "KEYSTEAD_TOKEN": token}))


def expect(text: str, output: str) -> None:
    """Exit if the output lacks the text."""
    if text not in output:
        sys.exit(f"release: the README's lines printed no {text!r}:\n{output}")


def sh(script: str, keystead: Path, url: str, place: Mapping[str, str]) -> str:
    """Run lines of the README from the repository's root, with this server and this command."""
    script = script.replace("http://127.0.0.1:8080", url).replace(
        ".venv/bin/keystead", str(keystead)
    )
    return run(["sh", "-ec", script], ROOT, place)


@contextmanager
def serving(keystead: Path, port: int, place: Mapping[str, str]) -> Iterator[None]:
    """Run a server until the end of the block."""
    command = [str(keystead), "serve", "--port", str(port), "--log-level", "error"]
    with subprocess.Popen(
        command, env={**os.environ, **place}, stdout=subprocess.DEVNULL, cwd=keystead.parent
    ) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/readyz")
            yield
        finally:
            server.terminate()


def wait_for(url: str) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            fetch(url)
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"release: {url} did not answer within {START_SECONDS} seconds")


def fetch(url: str) -> str:
    """Return the head and the body of a response, whatever its status."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as response:
            return f"{response.headers}{response.read().decode()}"
    except urllib.error.HTTPError as error:
        return f"{error.headers}{error.read().decode()}"


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
