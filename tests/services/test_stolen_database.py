"""A thief of the whole database can do nothing with it (E23)."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256

import pytest
from sqlalchemy import select

from keystead.domain.errors import Invalid
from keystead.domain.keys import KeyDraft
from keystead.domain.token import Secret, checksum
from keystead.domain.verification import Verified
from keystead.services.idempotency import Once
from keystead.services.key_issuer import CreatedKey
from keystead.storage.schema.tables import metadata
from tests.support.administrator import read_behind
from tests.support.installations import PEPPERS, SandboxInstallation, sqlite_file, text_of


def _in_every_form(secret: bytes) -> Iterator[bytes]:
    """Return the forms in which a secret could be stored: as it is, reversed, in hex and in base64."""
    for form in (secret, secret[::-1]):
        yield from (form, form.hex().encode(), form.hex().upper().encode())
        yield from (
            base64.b64encode(form).rstrip(b"="),
            base64.urlsafe_b64encode(form).rstrip(b"="),
        )


def _values(sandbox: SandboxInstallation) -> set[bytes]:
    """Return every value of every row of every table."""
    values = set()
    with read_behind(sandbox.database) as tx:
        for table in metadata.sorted_tables:
            for row in tx.execute(select(table)):
                values |= {
                    value if isinstance(value, bytes) else str(value).encode() for value in row
                }
    return values


def _dump(sandbox: SandboxInstallation) -> bytes:
    """Return everything on disk of an embedded database, its log too, or every value of PostgreSQL."""
    values = b"\n".join(_values(sandbox))
    if not sandbox.database.is_sqlite:
        return values
    file = sqlite_file(sandbox)
    assert file.with_name(file.name + "-wal").stat().st_size > 0
    return values + b"".join(path.read_bytes() for path in file.parent.iterdir())


@pytest.fixture
def secrets(own_sandbox: SandboxInstallation) -> list[CreatedKey]:
    """Open an installation in which everything with a secret was used: keys, rotations, links, sessions, retries."""
    workspace = own_sandbox.services.workspaces.create("W", owner="Ada")
    tenant, keys = own_sandbox.tenant(), own_sandbox.services.keys
    created = [own_sandbox.key(tenant, f"key {number}") for number in range(5)]
    created.append(keys.create(tenant, KeyDraft("retried"), once=Once("retry", b"x" * 32)))
    created.append(
        own_sandbox.services.rotations.rotate(tenant, created[0].key.id, overlap=timedelta(hours=1))
    )
    keys.revoke(tenant, created[1].key.id)
    for key in created:
        own_sandbox.services.verifier.verify(text_of(key), address="192.0.2.1", agent="curl/8")
    own_sandbox.flush()
    sign_in = own_sandbox.services.sign_in
    owner = own_sandbox.services.workspaces.owner(workspace.id)
    sign_in.redeem(sign_in.make_link(owner)[0])
    sign_in.make_link(owner)
    return created


def test_nothing_stored_is_a_token(
    own_sandbox: SandboxInstallation, secrets: list[CreatedKey]
) -> None:
    """No stored value authenticates as a token: not as it is, in any encoding, or in a token's form."""
    assert isinstance(own_sandbox.verify(secrets[0]), Verified)
    heads = [text_of(created)[:26] for created in secrets]
    tried = 0
    for value in _values(own_sandbox):
        for form in _in_every_form(value):
            text = form.decode("latin-1")
            filled = [head + text[:43].rjust(43, "0") for head in heads]
            for bearer in (text, *filled, *(f + checksum(f) for f in filled if f.isascii())):
                assert not isinstance(own_sandbox.services.verifier.verify(bearer), Verified)
                tried += 1
    assert tried > 5_000


def test_nothing_stored_signs_in(
    own_sandbox: SandboxInstallation, secrets: list[CreatedKey]
) -> None:
    """No stored value is a sign-in link or a session, in any encoding."""
    sign_in = own_sandbox.services.sign_in
    forms = {form for value in _values(own_sandbox) for form in _in_every_form(value)}
    for form in forms:
        assert sign_in.memberships(Secret(form.decode("latin-1"))) == []
    digests = {form for form in forms if len(form) >= 32}
    assert len(digests) > 50
    for form in digests:
        with pytest.raises(Invalid):
            sign_in.redeem(Secret(form.decode("latin-1")))


def test_no_secret_is_stored(own_sandbox: SandboxInstallation, secrets: list[CreatedKey]) -> None:
    """No part of a token's secret, no sign-in secret or pepper is in the database, its log or its index (R5)."""
    sign_in = own_sandbox.services.sign_in
    owner = own_sandbox.services.workspaces.first()
    link = sign_in.make_link(owner)[0]
    session = sign_in.redeem(link).secret
    dump = _dump(own_sandbox)
    hidden = [link.reveal().encode(), session.reveal().encode(), bytes(range(100, 132))]
    for created in secrets:
        secret = text_of(created)[26:69].encode()
        hidden += [secret[place : place + 12] for place in range(len(secret) - 11)]
    assert not any(form in dump for piece in hidden for form in _in_every_form(piece))
    for created in secrets:
        assert created.key.id.encode() in dump
        assert PEPPERS.current.digest(text_of(created)[:-6].encode()) in dump


def test_the_pepper_is_needed(own_sandbox: SandboxInstallation, secrets: list[CreatedKey]) -> None:
    """A thief of the database and the source, without the pepper, can't even check a guess of a token."""
    stored = {value for value in _values(own_sandbox) if len(value) == 32}
    for created in secrets:
        text = text_of(created).encode()
        bodies = {text, text[:-6], text[26:69], text[26:], text[:-49]}
        assert not {sha256(body).digest() for body in bodies} & stored
