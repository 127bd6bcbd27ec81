"""`keystead sign-in-link` makes a link that signs the owner of a workspace in, once."""

from __future__ import annotations

import re

from keystead.bootstrap import Installation
from keystead.domain.token import Secret
from tests.cli.conftest import Keystead

LINK = re.compile(r"http://127\.0\.0\.1:8080/sign-in\?link=(\S{43})\n")


def test_the_link_signs_the_owner_in(keystead: Keystead, installation: Installation) -> None:
    """The printed link is one that the sign-in takes, for the owner of the first workspace."""
    printed = LINK.fullmatch(keystead("sign-in-link").out)
    assert printed is not None
    signed_in = installation.services.sign_in.redeem(Secret(printed[1]))
    assert signed_in.member == installation.services.workspaces.first()


def test_a_workspace_may_be_named(keystead: Keystead, installation: Installation) -> None:
    """By name or id; one that is not there, and one without an owner, are refused in words."""
    made = installation.services.workspaces.create("Globex", owner="Hank")
    told = keystead("sign-in-link", "--workspace", "Globex", "--json")
    secret = Secret(told.json["url"].partition("link=")[2])
    assert installation.services.sign_in.redeem(secret).member.workspace_id == made.id
    assert told.json["expires_at"].endswith("Z")
    assert keystead("sign-in-link", "--workspace", "Initech").code == 1
    assert keystead("sign-in-link", "--workspace", "Acme").code == 1
