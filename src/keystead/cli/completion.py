"""`keystead completion`: what makes a shell complete the words of this command line."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from cyclopts import Parameter

from keystead.cli import render
from keystead.cli.outcome import Failure

Shell = Literal["bash", "zsh", "fish"]


def completion(
    shell: Shell, /, *, install: Annotated[bool, Parameter(negative=())] = False
) -> None:
    """Print the completion script of a shell, or put it where the shell finds it.

    Parameters
    ----------
    shell
        Your shell.
    install
        Write the script to your home folder, and for bash and zsh a line into the shell's start file.
    """
    from keystead.cli import application

    if not install:
        sys.stdout.write(application().generate_completion(shell=shell))
        return
    try:
        written = application().install_completion(shell=shell)
    except OSError as error:
        raise Failure(f"The script cannot be written: {error.strerror}.") from None
    render.note(f"Installed as {written}; new shells complete `keystead`.")
