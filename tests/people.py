"""People for tests: members who proved just now who they are, and passwords that cost little."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from keystead.domain.principals import Principal, of_member
from keystead.domain.sessions import Proof, ProofKind
from keystead.domain.workspaces import Member
from tests.clocks import NOON


def acting(member: Member, at: datetime = NOON) -> Principal:
    """The member as who acts, signed in at that instant."""
    return of_member(replace(member, proof=Proof(at, ProofKind.LINK)))
