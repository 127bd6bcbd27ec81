"""Gateway files on this machine, and which of them don't know every header field that forward-auth answers with.

A field that a gateway doesn't know is its client's own: the application would take it for Keystead's. `keystead doctor`
names such files, which an earlier version printed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from keystead.operation.checks import Finding, Verdict
from keystead.operation.gateways import IDENTITY

CHECK: Final = "gateways"
PLACES: Final = (
    "etc/nginx/nginx.conf",
    "etc/nginx/conf.d/*.conf",
    "etc/nginx/sites-enabled/*",
    "etc/caddy/Caddyfile",
    "etc/traefik/*.y*ml",
    "etc/envoy/*.y*ml",
    "etc/haproxy/haproxy.cfg",
)
"""The usual places of their configurations, under the root folder."""
ASKS: Final = "/forward-auth/"
"""What the configuration of a gateway that asks Keystead contains."""
KNOWS_ALL: Final = "x[-_.]keystead.*"
"""The pattern of Envoy's configuration, whose matches are removed, and passed on if they are Keystead's."""
LONGEST: Final = 1_000_000
"""The most bytes of a file that are read."""


def usual_files(root: Path = Path("/")) -> Iterator[Path]:
    """Yield the files at the usual places."""
    for place in PLACES:
        yield from sorted(root.glob(place))


def check_gateways(files: Iterable[Path]) -> Finding | None:
    """Check those of the files that ask Keystead; None without such a file."""
    asking, outdated = 0, list[Path]()
    for file in files:
        try:
            with file.open("rb") as opened:
                text = opened.read(LONGEST).decode("utf-8", "replace").lower()
        except OSError as error:
            return Finding(CHECK, Verdict.WARNING, f"{file} can't be read: {error.strerror}.")
        if ASKS in text:
            asking += 1
            if KNOWS_ALL not in text and not all(name.lower() in text for name in IDENTITY):
                outdated.append(file)
    if outdated:
        return Finding(
            CHECK,
            Verdict.WARNING,
            f"Clients could send these gateways' applications an {IDENTITY[-1]} of their own:"
            f" {', '.join(map(str, outdated))}. Print the files again with keystead gateway.",
        )
    if asking:
        return Finding(CHECK, Verdict.OK, "The gateways' files know every field of Keystead's.")
    return None
