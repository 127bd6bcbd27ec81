"""A real Keystead in a folder and in this process, over SQLite: needs the extra `server`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from keystead.domain.ids import KeyId
from keystead.domain.keys import KeyDraft
from keystead.domain.principals import system
from keystead.domain.scopes import Scopes
from keystead.domain.token import parse
from keystead.extras import missing
from keystead.operation.files import ConfigurationError

if TYPE_CHECKING:
    from keystead.bootstrap import Settings
    from keystead.integrations.in_process import InProcess

NO_SCOPES: Final[Mapping[str, str]] = MappingProxyType({})


class EmbeddedKeystead:
    """An installation with one workspace. `guard` is for the application; the rest is what its operator does."""

    def __init__(self, guard: InProcess) -> None:
        self.guard: Final = guard
        self._services = guard.installation.get().services
        self.workspace_id: Final = self._services.workspaces.first().workspace_id

    def create_key(
        self, *scopes: str, description: str = "test", expires_at: datetime | None = None
    ) -> str:
        """Create a key of the workspace. Returns its token. Raises Invalid for an unknown scope."""
        draft = KeyDraft(description, expires_at, Scopes(scopes))
        created = self._services.keys.create(system(self.workspace_id), draft)
        assert created.token is not None  # noqa: S101 - only a repeated call lacks it
        return created.token.reveal()

    def revoke(self, token: str) -> None:
        """Revoke the key of a token. Raises ValueError if the token is malformed, NotFound if it is unknown."""
        parsed = parse(token)
        if parsed is None:
            raise ValueError("this is not a token")
        self._services.keys.revoke(system(self.workspace_id), KeyId(parsed.key_id))


@contextmanager
def embedded(folder: Path, scopes: Mapping[str, str] = NO_SCOPES) -> Iterator[EmbeddedKeystead]:
    """Open the installation of a folder, and make it first if the folder is empty.

    Args:
        folder: The data folder, which gets the database and the pepper file.
        scopes: The scopes of the application, with their descriptions, in addition to the built-in ones.
    """
    settings = prepared(folder, scopes)
    from keystead.integrations.in_process import InProcess

    guard = InProcess(settings)
    try:
        yield EmbeddedKeystead(guard)
    finally:
        guard.close()


def prepared(folder: Path, scopes: Mapping[str, str] = NO_SCOPES) -> Settings:
    """Make the installation of a folder, unless it is there. Returns its settings.

    Neither the environment nor a keystead.toml is read: they may be those of the developer's own installation.

    Raises:
        ConfigurationError: The extra is not installed, or the folder is unfit.
    """
    try:
        from keystead import bootstrap
        from keystead.settings import settings_of
    except ModuleNotFoundError as error:
        raise ConfigurationError(missing(error, "A real Keystead in a test", "server")) from error
    database = f"sqlite:///{folder / 'keystead.db'}"
    settings = settings_of(database=database, data=folder, scopes=dict(scopes))
    bootstrap.prepare(settings)
    return settings
