"""The command line: `keystead NOUN VERB`, one file per noun. Heavy modules are imported when their command runs."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from cyclopts import App, CycloptsError, Group, Parameter

from keystead import VERSION_FLAGS, version

GROUPS: Final = {
    "Run a server": (
        ("serve", "keystead.cli.serve:serve", "Start the server."),
        ("worker", "keystead.cli.worker:worker", "Deliver webhooks without a server."),
        (
            "migrate",
            "keystead.cli.migrate:migrate",
            "Update the database's schema to this version.",
        ),
        ("doctor", "keystead.cli.doctor:doctor", "Check the configuration and suggest fixes."),
        ("backup", "keystead.cli.backup:backup", "Copy the embedded database to a file."),
        (
            "restore",
            "keystead.cli.backup:restore",
            "Restore a backup; keys revoked since then stay revoked.",
        ),
        (
            "move",
            "keystead.cli.move:move",
            "Move the installation to another database, such as PostgreSQL.",
        ),
        ("sign-in-link", "keystead.cli.serve:sign_in_link", "Print a single-use sign-in link."),
        (
            "credentials",
            "keystead.cli.credentials:app",
            "Create, list and revoke credentials of your own services.",
        ),
        (
            "gateway",
            "keystead.cli.gateway:app",
            "Print a configuration for nginx, Caddy, Traefik or Envoy.",
        ),
    ),
    "Manage an installation, on this machine or with --url at a server": (
        (
            "workspaces",
            "keystead.cli.workspaces:app",
            "Create, list, suspend and resume workspaces.",
        ),
        ("plans", "keystead.cli.plans:app", "List and change plans and their limits."),
        ("keys", "keystead.cli.keys:app", "Create, list, rotate and revoke API keys."),
        ("policy", "keystead.cli.policy:app", "Check keys against the policy."),
        ("events", "keystead.cli.events:app", "Show the audit log."),
    ),
    "Use a server, with a key's token": (
        ("login", "keystead.cli.login:login", "Store a token for a server in a private file."),
        ("logout", "keystead.cli.login:logout", "Remove the tokens that login stored."),
        ("whoami", "keystead.cli.login:whoami", "Show the current key, its workspace and scopes."),
        ("plan", "keystead.cli.plans:plan", "Show the plan, its limits and their use."),
        ("collections", "keystead.cli.collections:app", "List, create and delete collections."),
        ("documents", "keystead.cli.documents.commands:app", "Push and search documents."),
        ("webhooks", "keystead.cli.webhooks:app", "List, create, test and delete webhooks."),
    ),
    "Use this command line": (
        ("completion", "keystead.cli:completion", "Set up completion in your shell."),
    ),
}
"""All commands by their heading in `keystead --help`: name, import path, one line of help."""
EXTENSIONS: Final = "keystead.commands"
"""The entry points `(app, group)` by which other packages add commands, such as `prove` of keystead_prove."""
COLLECTS: Final = gc.get_threshold()
"""Python's own thresholds of garbage collection, for commands that run long."""
EPILOGUE: Final = (
    "Options override KEYSTEAD_... environment variables, which override keystead.toml. "
    "Exit codes: 0 done, 1 refused, 2 wrong usage, 69 unavailable, 77 denied, 78 wrong configuration."
)


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    from keystead.cli import outcome

    with outcome.reported("--json" in arguments) as result:
        try:
            result.code = application(arguments)(arguments) or 0
        except CycloptsError as error:
            detail = " ".join(str(error).split())
            raise outcome.Failure(detail, outcome.Exit.USAGE) from None
    return result.code


def main() -> None:
    """Run the console script."""
    # Imports allocate much and free nothing: collections meanwhile are a tenth of a short command's time.
    gc.set_threshold(100_000)
    sys.exit(run(sys.argv[1:]))


def application(arguments: Sequence[str] = ()) -> App:
    """Return the command line, without other packages' commands if `arguments` name one of ours.

    Its commands are not loaded yet.
    """
    app = App(
        name="keystead",
        help="API keys for a multi-tenant product.",
        help_epilogue=EPILOGUE,
        help_format="plaintext",
        version=version,
        version_flags=VERSION_FLAGS,
        result_action="return_value",
        print_error=False,
        exit_on_error=False,
        default_parameter=Parameter(show_default=_shown_default),
    )
    for position, (heading, commands) in enumerate(GROUPS.items()):
        group = Group(heading, sort_key=position)
        for order, (name, target, text) in enumerate(commands):
            app.command(target, name=name, help=text, group=group, sort_key=order)
    if not _is_ours(arguments):
        _add_extensions(app)
    help_group = Group("Help", sort_key=len(GROUPS) + 1)
    for flag in (*app.help_flags, *app.version_flags):
        app[flag].group = help_group
    return app


def _is_ours(arguments: Sequence[str]) -> bool:
    names = (name for commands in GROUPS.values() for name, *_ in commands)
    return bool(arguments) and arguments[0] in {*names, *VERSION_FLAGS}


def _add_extensions(app: App) -> None:
    # Looking for entry points reads the metadata of every installed package.
    from importlib.metadata import entry_points

    extensions = Group("Added by other packages", sort_key=len(GROUPS))
    for extension in entry_points(group=EXTENSIONS):
        extension.load()(app, extensions)


def completion(
    shell: Literal["bash", "zsh", "fish"],
    /,
    *,
    install: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Print a shell's completion script, or install it.

    Parameters
    ----------
    shell
        Your shell.
    install
        Write the script to your home folder; for bash and zsh, also add a line to the shell's startup file.
    """
    from keystead.cli.outcome import Failure
    from keystead.cli.render import note

    if not install:
        sys.stdout.write(application().generate_completion(shell=shell))
        return
    try:
        path = application().install_completion(shell=shell)
    except OSError as error:
        raise Failure(f"Can't write the script: {error.strerror}.") from None
    note(f"Installed in {path}. New shells complete `keystead`.")


def _shown_default(default: object) -> object:
    """Return the default for help; None for one that only means that the option is absent."""
    return None if default in (False, None, "", ()) else default
