"""The Python SDK: the API over HTTP, without I/O in its rules. The token is in no repr and goes to one server only."""

from __future__ import annotations

from keystead.client.blocking import Client
from keystead.client.errors import (
    ClientError,
    NotAToken,
    Problem,
    UnexpectedAnswer,
    Unreachable,
    UnsafeAddress,
)
from keystead.client.exchange import Patience
from keystead.client.results import Actor, Document, Key, Page, PushReport, Whoami
from keystead.domain.documents import DocumentDraft

__all__ = [
    "Actor",
    "Client",
    "ClientError",
    "Document",
    "DocumentDraft",
    "Key",
    "NotAToken",
    "Page",
    "Patience",
    "Problem",
    "PushReport",
    "UnexpectedAnswer",
    "Unreachable",
    "UnsafeAddress",
    "Whoami",
]
