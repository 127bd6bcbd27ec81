"""The experiments of `keystead prove`: they use an installation over HTTP, like its clients, and judge the responses.

No experiment opens a database or knows a rule of the product; what only an operator can do is passed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cyclopts import App, Group


def add_to(app: App, group: Group) -> None:
    """Add `keystead prove` to the command line, which finds this function by its entry point."""
    says = "Test the guarantees against your installation."
    app.command("keystead_prove.command:prove", name="prove", help=says, group=group)
