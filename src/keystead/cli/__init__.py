"""The command line: `keystead NOUN VERB`. One file per noun; nothing heavy is imported before its command runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from cyclopts import App, Parameter

from keystead import __version__

if TYPE_CHECKING:
    from cyclopts import CycloptsError
    from rich.text import Text

COMMANDS: Final = (
    ("serve", "keystead.cli.serve:serve", "Start the server."),
    ("migrate", "keystead.cli.migrate:migrate", "Bring the database to this version's schema."),
    ("doctor", "keystead.cli.doctor:doctor", "Check the configuration; say how to mend it."),
    ("sign-in-link", "keystead.cli.sign_in:sign_in_link", "Print a link that signs in once."),
    ("workspaces", "keystead.cli.workspaces:app", "Make, see, suspend and resume workspaces."),
    ("plans", "keystead.cli.plans:app", "See and set plans and their limits."),
    ("keys", "keystead.cli.keys:app", "Create, see, rotate and revoke API keys."),
    ("events", "keystead.cli.events:app", "See what happened: who did what, when, from where."),
    ("documents", "keystead.cli.documents:app", "Push and search documents."),
    ("whoami", "keystead.cli.whoami:whoami", "Say whose key this is, and what it may do."),
)
EPILOGUE: Final = (
    "Settings come from the options, then KEYSTEAD_... in the environment, then keystead.toml. "
    "Exit codes: 0 done, 1 refused, 2 wrong usage, 69 unavailable, 77 denied, 78 wrong configuration."
)


def run(arguments: Sequence[str]) -> int:
    """Runs one command; its exit code."""
    from keystead.cli import outcome

    with outcome.reported("--json" in arguments) as result:
        result.code = _app()(arguments) or 0
    return result.code


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def _app() -> App:
    app = App(
        name="keystead",
        help="API keys for a multi-tenant product.",
        help_epilogue=EPILOGUE,
        help_format="plaintext",
        version=__version__,
        result_action="return_value",
        error_formatter=_usage,
        default_parameter=Parameter(show_default=_telling),
    )
    for name, target, says in COMMANDS:
        app.command(target, name=name, help=says)
    return app


def _telling(default: object) -> object:
    """A default that help should show; none that only says that the option is absent."""
    return None if default in (False, None, "", ()) else default


def _usage(error: CycloptsError) -> Text:
    """Wrong usage in one line; what was typed by mistake may have been a token."""
    from rich.text import Text

    from keystead.http.redaction import one_line

    return Text(f"keystead: {one_line(str(error), 300)}", overflow="ignore", no_wrap=True)
