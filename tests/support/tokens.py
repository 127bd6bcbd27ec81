"""The published example of a token, and the ways in which a program might print one."""

from __future__ import annotations

import traceback
from collections.abc import Callable

VECTOR = "ks_02tcRIyrxLXTR81B3dqdOx_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf2aDLy9"
FORMATTERS: dict[str, Callable[[object], str]] = {
    "repr": repr,
    "str": str,
    "format": "{}".format,
    "format padded": lambda thing: f"{thing!s:>200}",
    "percent": lambda thing: "%s %r" % (thing, thing),  # noqa: UP031 - logging formats like this
    "container": lambda thing: repr([{"thing": (thing,)}]),
    "exception": lambda thing: "".join(traceback.format_exception(ValueError(thing))),
}
