"""The command line: `keystead NOUN VERB`. One file per noun; nothing heavy is imported before its command runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Final

from cyclopts import App, CycloptsError, Group, Parameter

from keystead import __version__

GROUPS: Final = {
    "Run a server": (
        ("serve", "keystead.cli.serve:serve", "Start the server."),
        ("worker", "keystead.cli.worker:worker", "Deliver webhooks without a server."),
        ("migrate", "keystead.cli.migrate:migrate", "Bring the database to this version's schema."),
        ("doctor", "keystead.cli.doctor:doctor", "Check the configuration; say how to mend it."),
        ("backup", "keystead.cli.backup:backup", "Copy the embedded database to a file."),
        (
            "restore",
            "keystead.cli.backup:restore",
            "Take a backup into service; what was revoked since stays so.",
        ),
        ("sign-in-link", "keystead.cli.sign_in:sign_in_link", "Print a link that signs in once."),
        (
            "credentials",
            "keystead.cli.credentials:app",
            "Create, see and revoke credentials of your own services.",
        ),
        (
            "gateway",
            "keystead.cli.gateway:app",
            "Print the configuration of nginx, Caddy, Traefik or Envoy.",
        ),
    ),
    "Manage an installation: on this machine, or with --url at a server": (
        ("workspaces", "keystead.cli.workspaces:app", "Make, see, suspend and resume workspaces."),
        ("plans", "keystead.cli.plans:app", "See and set plans and their limits."),
        ("keys", "keystead.cli.keys:app", "Create, see, rotate and revoke API keys."),
        ("events", "keystead.cli.events:app", "See who did what, when and from where."),
    ),
    "Speak to a server, with a key's token": (
        ("login", "keystead.cli.login:login", "Keep a token for a server, in a private file."),
        ("logout", "keystead.cli.login:logout", "Remove the tokens that login kept."),
        ("whoami", "keystead.cli.login:whoami", "Say whose key this is, and what it may do."),
        ("plan", "keystead.cli.plans:plan", "Say what the plan allows, and what is used of it."),
        ("collections", "keystead.cli.collections:app", "See, make and delete collections."),
        ("documents", "keystead.cli.documents.commands:app", "Push and search documents."),
        ("webhooks", "keystead.cli.webhooks:app", "See, make, test and delete webhooks."),
    ),
    "Use this command line": (
        ("completion", "keystead.cli.completion:completion", "Complete words in your shell."),
    ),
}
"""Every command under its heading of `keystead --help`: name, import path, one line of help."""
EXTENSIONS: Final = "keystead.commands"
"""The group of entry points `(app, group)` by which other packages add commands, such as keystead_prove its `prove`."""
EPILOGUE: Final = (
    "Settings come from the options, then KEYSTEAD_... in the environment, then keystead.toml. "
    "Exit codes: 0 done, 1 refused, 2 wrong usage, 69 unavailable, 77 denied, 78 wrong configuration."
)


def run(arguments: Sequence[str]) -> int:
    """Runs one command; its exit code."""
    from keystead.cli import outcome

    with outcome.reported("--json" in arguments) as result:
        try:
            result.code = application()(arguments) or 0
        except CycloptsError as error:
            said = " ".join(str(error).split())
            raise outcome.Failure(said, outcome.Exit.USAGE) from None
    return result.code


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def application() -> App:
    """The command line, its commands not loaded yet."""
    app = App(
        name="keystead",
        help="API keys for a multi-tenant product.",
        help_epilogue=EPILOGUE,
        help_format="plaintext",
        version=__version__,
        version_flags=["--version", "-V"],
        result_action="return_value",
        print_error=False,
        exit_on_error=False,
        default_parameter=Parameter(show_default=_telling),
    )
    for place, (heading, commands) in enumerate(GROUPS.items()):
        group = Group(heading, sort_key=place)
        for order, (name, target, says) in enumerate(commands):
            app.command(target, name=name, help=says, group=group, sort_key=order)
    added = Group("Added by other packages", sort_key=len(GROUPS))
    for extension in entry_points(group=EXTENSIONS):
        extension.load()(app, added)
    usual = Group("Help", sort_key=len(GROUPS) + 1)
    for flag in (*app.help_flags, *app.version_flags):
        app[flag].group = usual
    return app


def _telling(default: object) -> object:
    """A default that help should show; none that only says that the option is absent."""
    return None if default in (False, None, "", ()) else default
