"""The bodies of calls about credentials, and to look up a token."""

from __future__ import annotations

from typing import Annotated, Literal

from keystead.api.bodies.body import Body
from keystead.domain.credentials import MAX_NAME as MAX_CREDENTIAL_NAME
from keystead.wire.schema import member


class NewCredential(Body):
    """A credential to create."""

    name: Annotated[
        str,
        member(
            f"What will use it: 1-{MAX_CREDENTIAL_NAME} characters on one line.",
            "billing backend",
            minLength=1,
            maxLength=MAX_CREDENTIAL_NAME,
        ),
    ]
    kind: Annotated[
        Literal["service", "operator"],
        member("`service`: it can only introspect tokens. `operator`: also all calls as this one."),
    ]


class KeyLookup(Body):
    """A token to look up."""

    token: Annotated[str, member("The whole token of a workspace's key.")]
