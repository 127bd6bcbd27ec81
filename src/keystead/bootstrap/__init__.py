"""The composition root: settings -> database -> services -> applications. The only package that imports all others."""

from keystead.bootstrap.applications import (
    create_app,
    import_applications,
    operator_api,
    read_brand,
)
from keystead.bootstrap.background import background_of
from keystead.bootstrap.doctor import (
    check_peppers,
    check_row_security,
    check_schema,
    examine_database,
    has_begun,
    schema_state,
)
from keystead.bootstrap.installation import Installation, open_installation, open_safely
from keystead.bootstrap.moving import Moved, Step, move, undo_move
from keystead.bootstrap.preparation import (
    Migrated,
    database_file,
    find_peppers,
    make_place,
    migrate,
    prepare,
    require_private_place,
)
from keystead.bootstrap.restoration import Restored, back_up, restore
from keystead.settings import Settings, read_settings, settings_of

__all__ = [
    "Installation",
    "Migrated",
    "Moved",
    "Restored",
    "Settings",
    "Step",
    "back_up",
    "background_of",
    "check_peppers",
    "check_row_security",
    "check_schema",
    "create_app",
    "database_file",
    "examine_database",
    "find_peppers",
    "has_begun",
    "import_applications",
    "make_place",
    "migrate",
    "move",
    "open_installation",
    "open_safely",
    "operator_api",
    "prepare",
    "read_brand",
    "read_settings",
    "require_private_place",
    "restore",
    "schema_state",
    "settings_of",
    "undo_move",
]
