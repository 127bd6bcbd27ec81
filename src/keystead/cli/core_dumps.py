"""A process that holds a token leaves no core dump: it would be a file with the token in it."""

from __future__ import annotations

import ctypes
import resource
import sys
from typing import Final

PR_SET_DUMPABLE: Final = 4


def forbid_core_dumps() -> None:
    """None from now on: by the limit and, since a dump handler may ignore it, by the process itself (core(5))."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
