"""`python -m keystead`: the command line where its script is not on the path."""

from __future__ import annotations

from keystead.cli import main

main()
