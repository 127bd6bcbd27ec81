"""From a bare python3 to a working `.venv`: locked dependencies, each checked by its hash.

    python3 scripts/bootstrap.py server              what `keystead serve` needs
    python3 scripts/bootstrap.py dev [--browser]     also what the tests need (with a browser, if possible)

Standard library only. Does nothing if `.venv` is up to date. Old Pythons must be able to read this
file (hence no modern syntax), so that it can find a newer one or say clearly what is missing.
"""

import argparse
import contextlib
import hashlib
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NoReturn

OLDEST = (3, 11)
NEWER = ("python3.14", "python3.13", "python3.12", "python3.11")
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "keystead-stamp"
LOCKS = ROOT / "requirements"
HASHED = ["--require-hashes", "--only-binary", ":all:"]
TOOLS = (
    (("chromium-headless-shell",), "chromium-headless-shell", "browser tests"),
    (("strace",), "strace", "tests of what is synced to disk"),
    (("curl",), "curl", "tests of the lines that the documentation shows"),
    (("nginx",), "nginx", "tests of what a gateway hands over"),
    (("pgbouncer",), "pgbouncer", "tests of PostgreSQL behind a pooler"),
    (("etcd",), "etcd-server", "tests on a PostgreSQL cluster"),
    (("patroni",), "patroni", "tests on a PostgreSQL cluster"),
    (("postgres",), "postgresql-15", "tests on the oldest PostgreSQL"),
    (("node",), "nodejs", "tests of what receivers in JavaScript verify"),
    (("promtool",), "prometheus", "tests of the alert rules"),
    (("systemd-analyze",), "systemd", "tests of the systemd unit"),
    (("cc",), "gcc", "tests on servers whose clocks go wrong"),
)
"""The use of one program of each, and its Debian package."""
PLACES = os.pathsep.join(
    [
        os.environ.get("PATH", os.defpath),
        "/usr/sbin",
        "/usr/local/sbin",
        "/usr/lib/postgresql/15/bin",
    ]
)
NO_SERVICES = Path("/usr/sbin/policy-rc.d")
PROGRAM = (
    "from keystead import bootstrap; import alembic.command, keystead.cli.keys, keystead.cli.serve,"
    " keystead.operation.server.serving; bootstrap.import_applications()"
)
REASON = re.compile(r"hash mismatch|do not match the hash|error|fail|^E: ", re.IGNORECASE)
UNREACHED = re.compile(
    r"connect|resolve|dns|time.?out|proxy|certificate|no matching", re.IGNORECASE
)


def main() -> None:
    """Parse the command line and create the `.venv` that it asks for."""
    parser = argparse.ArgumentParser(description="Make .venv from the locked dependencies.")
    parser.add_argument("kind", choices=("server", "dev"))
    parser.add_argument(
        "--browser", action="store_true", help="also a browser and other programs, for tests"
    )
    arguments = parser.parse_args()
    require_python()
    with one_at_a_time():
        make_environment(arguments.kind)
        if arguments.browser:
            install_tools()


def say(line: str) -> None:
    """Print one line of progress."""
    print("bootstrap: " + line, file=sys.stderr, flush=True)


def fail(line: str) -> NoReturn:
    """Print one clear line and exit with code 1."""
    say("error: " + line)
    sys.exit(1)


def require_python() -> None:
    """Continue in this Python if it is new enough, else start again in the newest one available."""
    if sys.version_info >= OLDEST:
        return
    for name in NEWER:
        found = shutil.which(name)
        if found and subprocess.call([found, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            os.execv(found, [found, *sys.argv])  # noqa: S606
    fail("Keystead needs Python 3.11 or newer; this is " + sys.version.split()[0])


def one_at_a_time() -> "IO[str]":
    """Open and lock this file, so that two bootstraps never write one `.venv`."""
    try:
        import fcntl
    except ImportError:
        fail("Keystead runs on Linux and macOS; on Windows use WSL")
    handle = Path(__file__).open()  # noqa: SIM115 - the caller closes it
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        say("another bootstrap is at work; waiting for it")
        fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def make_environment(kind: str) -> None:
    """Create or fix `.venv`; one that is good for the tests is good for the server too."""
    stamp = STAMP.read_text().split() if STAMP.exists() else []
    wanted = "dev" if stamp[:1] == ["dev"] else kind
    if stamp == [wanted, fingerprint(wanted)] and PYTHON.exists():
        return
    create_venv()
    if STAMP.exists():
        STAMP.unlink()
    install_dependencies(wanted)
    install_project()
    compile_modules()
    STAMP.write_text(wanted + " " + fingerprint(wanted) + "\n")
    say("ready")


def fingerprint(kind: str) -> str:
    """Return the SHA-256 of all that decides the contents of `.venv`, and of its place."""
    digest = hashlib.sha256((LOCKS / (kind + ".lock")).read_bytes())
    digest.update((ROOT / "pyproject.toml").read_bytes())
    digest.update((sys.version + str(ROOT)).encode())
    return digest.hexdigest()


def create_venv() -> None:
    """Create a virtual environment of this very Python; replace one of another version or place."""
    if is_of_this_python():
        return
    if importlib.util.find_spec("ensurepip") is None:
        install_venv_package()
    say("creating .venv with Python " + sys.version.split()[0])
    interpreter = getattr(sys, "_base_executable", sys.executable)
    done = run([interpreter, "-m", "venv", "--clear", str(VENV)])
    if done.returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        fail("could not create .venv: " + last_words(done))


def is_of_this_python() -> bool:
    """Return whether `.venv` works, was made at this place, and runs this Python."""
    configuration = VENV / "pyvenv.cfg"
    if not PYTHON.exists() or not configuration.exists():
        return False
    if str(VENV) not in configuration.read_text():
        return False
    done = run([str(PYTHON), "-c", "import pip, sys; print(sys.version)"])
    return done.returncode == 0 and done.stdout.strip() == sys.version.strip()


def install_venv_package() -> None:
    """Install ensurepip's package, which Debian's Python lacks, or name it."""
    package = "python{}.{}-venv".format(*sys.version_info)
    if not (can_install() and apt_install([package])):
        fail("this Python makes no virtual environments; install " + package + " (Debian, Ubuntu)")
    importlib.invalidate_caches()


def install_dependencies(kind: str) -> None:
    """Install into `.venv` what the lock names, by uv, or by pip if uv does not work."""
    lock = str(LOCKS / (kind + ".lock"))
    say("installing " + kind + " dependencies")
    pip_install = [str(PYTHON), "-m", "pip", "install", "--quiet", *HASHED, "-r"]
    if run([*pip_install, str(LOCKS / "uv.lock")]).returncode == 0:
        uv = [str(VENV / "bin" / "uv"), "pip", "sync", "--quiet", "--python", str(PYTHON)]
        done = run([*uv, *HASHED, lock], uv_environment())
        if done.returncode == 0:
            return
        say("uv could not (" + last_words(done) + "); trying pip")
    done = run([*pip_install, lock])
    if done.returncode != 0:
        fail("could not install " + kind + " dependencies: " + last_words(done) + advice(done))


def install_project() -> None:
    """Install this folder, editable; everything it needs to be built is in the lock."""
    offline = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = run([str(PYTHON), "-m", "pip", "install", *offline, "--editable", str(ROOT)])
    if done.returncode != 0:
        fail("could not install Keystead itself: " + last_words(done))


def compile_modules() -> None:
    """Import the program once, so that later starts find its modules compiled: that halves their time."""
    # uv leaves compiling to the first import, which an environment may forbid to write its result.
    run([str(PYTHON), "-c", PROGRAM], {"PYTHONDONTWRITEBYTECODE": ""})


def uv_environment() -> "dict[str, str]":
    """Return pip's configuration that uv does not read: the package index and the certificates."""
    listed = run([str(PYTHON), "-m", "pip", "config", "list"]).stdout
    configured = {}
    for line in sorted(listed.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        configured[name.rpartition(".")[2]] = value.strip("'\"")
    handed_over = {"UV_DEFAULT_INDEX": "index-url", "SSL_CERT_FILE": "cert"}
    return {
        variable: configured[name]
        for variable, name in handed_over.items()
        if name in configured and variable not in os.environ
    }


def run(
    command: "list[str]", more_environment: "dict[str, str] | None" = None
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, with its output captured as text."""
    environment = dict(os.environ, PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_USER="0")
    environment.update(more_environment or {})
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def last_words(done: "subprocess.CompletedProcess[str]") -> str:
    """Return the line in which a failed command gave its reason."""
    said = (done.stderr or done.stdout or "").strip()
    lines = [line.strip() for line in said.splitlines()]
    telling = [line for line in lines if REASON.search(line)]
    return (telling[:1] or lines[-1:] or ["exit code " + str(done.returncode)])[0][:300]


def advice(done: "subprocess.CompletedProcess[str]") -> str:
    """Return advice, if the failure looks like the network's."""
    if UNREACHED.search(done.stderr):
        return " (is the package index reachable? PIP_INDEX_URL names another)"
    return ""


def install_tools() -> None:
    """Find the programs that some tests need; report what is missing, and will skip later."""
    missing = {package: tests for names, package, tests in TOOLS if not any(map(found, names))}
    if sys.platform != "linux":
        missing.pop("strace", None)
    if not missing:
        return
    if can_install():
        with no_services():
            if apt_install(list(missing)):
                return
            missing = {
                package: missing[package] for package in missing if not apt_install([package])
            }
    for package, tests in missing.items():
        say("no " + package + " here: " + tests + " will be skipped; install it to run them")


def found(name: str) -> bool:
    """Return whether there is such a program; servers may be in folders outside the path."""
    return shutil.which(name, path=PLACES) is not None


@contextlib.contextmanager
def no_services() -> "Iterator[None]":
    """Keep Debian's packages from starting servers: tests start their own."""
    if NO_SERVICES.exists():
        yield
        return
    NO_SERVICES.write_text("#!/bin/sh\nexit 101\n")
    NO_SERVICES.chmod(0o755)
    try:
        yield
    finally:
        NO_SERVICES.unlink()


def can_install() -> bool:
    """Return whether this is root on a machine with apt."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def apt_install(packages: "list[str]") -> bool:
    """Install Debian packages; fetch the package lists only if the present ones are not enough."""
    say("installing " + " and ".join(packages))
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120"]
    install = [*apt, "install", "--no-install-recommends", *packages]
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    if run(install, quiet).returncode == 0:
        return True
    run([*apt, "update"], quiet)
    done = run(install, quiet)
    if done.returncode != 0:
        say("apt-get could not: " + last_words(done))
    return done.returncode == 0


if __name__ == "__main__":
    main()
