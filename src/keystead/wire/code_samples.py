"""Calls of the API as Python code that needs no library: for a product that shows only its own name."""

from __future__ import annotations

import json
from pprint import pformat
from typing import Any, Final, NamedTuple

_READ: Final = "as response:\n    print(response.read().decode())"


class SampleCall(NamedTuple):
    """A call: its method, its whole URL, and what its body has as JSON; None without a body."""

    method: str
    url: str
    body: Any = None


def python_calls(variable: str, *calls: SampleCall) -> str:
    """Return code that makes the calls and prints the responses. The environment has the token in `variable`."""
    has_body = any(call.body is not None for call in calls)
    imports = ["import json"] if has_body else []
    imports += ["import os", "from urllib.request import Request, urlopen"]
    more = ', "Content-Type": "application/json"' if has_body else ""
    token = f"os.environ['{variable}']"
    headers = f'headers = {{"Authorization": f"Bearer {{{token}}}"{more}}}'
    return "\n".join([*imports, "", headers, *map(_python_call, calls)])


def _python_call(call: SampleCall) -> str:
    url, method = json.dumps(call.url), json.dumps(call.method)
    if call.body is None:
        return f"with urlopen(Request({url}, headers=headers, method={method})) {_READ}"
    return (
        f"body = {pformat(call.body, width=88, sort_dicts=False)}\n"
        f"request = Request({url}, json.dumps(body).encode(), headers, method={method})\n"
        f"with urlopen(request) {_READ}"
    )
