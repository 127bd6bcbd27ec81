"""The certificate and key that a server is given, looked at before it starts."""

from __future__ import annotations

import ssl
from pathlib import Path

from keystead.operation.faults import ConfigurationError
from keystead.operation.files import require_private


def require_pair(certificate: Path, key: Path) -> str:
    """ConfigurationError unless both can be read, the key is private, in PKCS#8 form, and the certificate's own."""
    for path, what in ((certificate, "certificate"), (key, "TLS key")):
        if not path.is_file():
            raise ConfigurationError(f"The {what} {path} is not there.")
    require_private(key, "The TLS key")
    _require_form(key)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: b"")
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error.strerror or "unknown"
        raise ConfigurationError(
            f"The certificate {certificate} and the TLS key {key} do not fit: {reason}."
        ) from None
    return "The certificate and its key can be used."


def _require_form(key: Path) -> None:
    try:
        head = key.read_bytes()[:4096]
    except OSError as error:
        raise ConfigurationError(f"The TLS key {key} cannot be read: {error.strerror}.") from None
    if b"-----BEGIN PRIVATE KEY-----" not in head:
        raise ConfigurationError(
            f"The TLS key {key} must be unencrypted PKCS#8; "
            f"run: openssl pkcs8 -topk8 -nocrypt -in {key} -out {key}.pkcs8"
        )
