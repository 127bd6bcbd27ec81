"""Resolve requirements/*.lock: hashes for every platform, no index named, `server` a part of `dev`.

    python3 scripts/lock.py [--upgrade]

The machine's own package folders and extra indexes are left out, so that the locks are the same
everywhere; PIP_INDEX_URL or UV_DEFAULT_INDEX may name a mirror of the public index.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = ROOT / ".venv" / "bin" / "uv"
OPTIONS = (
    "--quiet",
    "--universal",
    "--python-version",
    "3.11",
    "--generate-hashes",
    "--no-annotate",
)
SERVER = ("pyproject.toml", "--extra", "server")
LOCKS = {
    "dev": (*SERVER, "--group", "dev"),
    "server": (*SERVER, "--group", "build", "--constraints", "requirements/dev.lock"),
    "uv": ("requirements/uv.in",),
}


def main() -> None:
    """Resolve each lock; `dev` first, because it binds `server`."""
    environment = plain_environment()
    for name, inputs in LOCKS.items():
        output = ("--no-emit-index-url", "--output-file", f"requirements/{name}.lock")
        command = [
            str(UV),
            "--no-config",
            "pip",
            "compile",
            *OPTIONS,
            *output,
            *inputs,
            *sys.argv[1:],
        ]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)


def plain_environment() -> dict[str, str]:
    """Return this environment without uv's settings, except a mirror of the index and the cache."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("UV_") or name in ("UV_CACHE_DIR", "UV_DEFAULT_INDEX")
    }
    if "PIP_INDEX_URL" in kept:
        kept.setdefault("UV_DEFAULT_INDEX", kept["PIP_INDEX_URL"])
    return kept | {"UV_CUSTOM_COMPILE_COMMAND": "make lock"}


if __name__ == "__main__":
    main()
