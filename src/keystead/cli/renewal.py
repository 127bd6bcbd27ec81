"""`keystead keys renew`: a key that renews itself in the file of its token."""

from __future__ import annotations

import os

from keystead.cli import render
from keystead.cli.key_arguments import duration_of
from keystead.cli.key_text import summary_of
from keystead.cli.options import Json
from keystead.cli.outcome import Exit, Failure
from keystead.cli.server import DEFAULT_SERVER, Server, agent, client_errors
from keystead.cli.token_file import FILE_VARIABLE


def renew(
    *,
    if_older_than: str | None = None,
    server: Server = DEFAULT_SERVER,
    json: Json = False,
) -> None:
    """Renew the key whose token is in a file, verify the new token, and replace the file. For unattended jobs.

    Run it again after any failure. The file changes only if the new token works.

    Parameters
    ----------
    if_older_than
        Renew only a key that is older, such as 30d. Default: any.
    """
    from keystead.client import RenewalRunning, RenewedFile, UnsafeFile, renew_token_file

    file = server.token_file or os.environ.get(FILE_VARIABLE)
    if file is None:
        raise Failure("Name the file of the token: --token-file.", Exit.USAGE)
    age = None if if_older_than is None else duration_of("--if-older-than", if_older_than)
    with client_errors():
        try:
            renewed: RenewedFile = renew_token_file(
                file, server.url, if_older_than=age, agent=agent()
            )
        except RenewalRunning as running:
            raise Failure(str(running)) from None
        except UnsafeFile as unsafe:
            raise Failure(str(unsafe), Exit.DENIED) from None
        except OSError as error:
            raise Failure(f"Can't renew {file}: {error.strerror}.", Exit.DENIED) from None
    if json:
        render.print_json({"key": renewed.key, "renewed": renewed.is_new})
    elif renewed.is_new:
        render.note(f"{file} has a new token. {summary_of(renewed.key)}")
    else:
        render.note(f"{file} is as it was: its key is not older than {if_older_than}.")
