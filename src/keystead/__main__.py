"""The console script, also `python -m keystead`: it says what to install if the command line's packages are absent."""

from __future__ import annotations

import sys
from typing import Final

from keystead import VERSION_FLAGS, version

EX_CONFIG: Final = 78
"""The exit code of a wrong configuration (sysexits.h), as of all commands."""


def main() -> None:
    """Run the command line. The version needs none of its packages."""
    if sys.argv[1:2] in [[flag] for flag in VERSION_FLAGS]:
        sys.stdout.write(f"{version()}\n")
        return
    try:
        from keystead.cli import main as run
    except ModuleNotFoundError as error:
        from keystead.extras import missing

        sentence = missing(error, "The command line", "cli")
        if sentence is None:
            raise
        sys.stderr.write(f"keystead: {sentence}\n")
        sys.exit(EX_CONFIG)
    run()


if __name__ == "__main__":
    main()
