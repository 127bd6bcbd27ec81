"""A key with networks, and what a client outside of them sends to look like one inside."""

from __future__ import annotations

from typing import Final

from tests.support.raw_http import Field

INSIDE: Final = "127.0.0.2"
"""A client's address that is in the key's networks. Every address of 127.0.0.0/8 is this machine's."""
OUTSIDE: Final = "127.0.0.3"
PROXY: Final = "127.0.0.1"
"""The proxy or gateway that the server trusts."""
NETWORKS: Final = [f"{INSIDE}/32", "2001:db8::/32"]


def forgeries(claimed: str = INSIDE) -> dict[str, list[Field]]:
    """Return header fields, by name, that claim another address for their sender."""
    own = ("X-Forwarded-For", claimed)
    return {
        "nothing": [],
        "forwarded": [own],
        "twice": [own, own],
        "chain": [("X-Forwarded-For", f"{claimed}, {claimed}")],
        "through the proxy": [("X-Forwarded-For", f"{claimed}, {PROXY}")],
        "mapped": [("X-Forwarded-For", f"::ffff:{claimed}")],
        "with a port": [("X-Forwarded-For", f"{claimed}:443")],
        "trailing comma": [("X-Forwarded-For", f"{claimed},")],
        "another network": [("X-Forwarded-For", "2001:db8::1")],
        "lower case": [("x-forwarded-for", claimed)],
        "underscores": [("X_Forwarded_For", claimed)],
        "dots": [("X.Forwarded.For", claimed)],
        "real ip": [("X-Real-IP", claimed)],
        "standard": [("Forwarded", f"for={claimed};proto=https")],
        "others": [
            ("True-Client-IP", claimed),
            ("CF-Connecting-IP", claimed),
            ("X-Client-IP", claimed),
            ("X-Cluster-Client-IP", claimed),
            ("X-Original-Forwarded-For", claimed),
            ("X-Envoy-External-Address", claimed),
            ("Remote-Addr", claimed),
            ("Client-IP", claimed),
        ],
        "stripped": [own, ("Connection", "close, X-Forwarded-For, X-Forwarded-Proto")],
        "every field": [own, ("X-Real-IP", claimed), ("Forwarded", f"for={claimed}")],
    }
