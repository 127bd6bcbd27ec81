"""${message}"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}

# A revision only adds: servers of the version before run on. It alters `api_keys` before `workspaces`, because a
# verification locks them in that order.


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
