"""Load over HTTP/1.1 on kept connections: as many requests a second as the server answers.

`python -m bench.load PORT SECONDS CONNECTIONS < REQUESTS` prints the rate and the share of its core that the load took:
near 1, the load is the bottleneck and not the server. REQUESTS is a JSON list of strings, one character a byte.
It sends from one process, and raises AssertionError for a response other than 2xx.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Final, NamedTuple, TypeVar

HOST: Final = "127.0.0.1"
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")

Requests = Sequence[bytes]
"""With at most as many as connections, each connection repeats one of them; with more, each is sent once."""
Name = TypeVar("Name")


class Side(NamedTuple):
    """One of several that are measured in turn: a server's port, and the requests of each round."""

    port: int
    requests: Callable[[], Requests]


class Measured(NamedTuple):
    """Responses a second, and the share of one core that the load took."""

    rate: float
    busy: float


def always(request: bytes) -> Callable[[], Requests]:
    """Return the requests of each round: always this one."""
    return lambda: [request]


def interleaved(
    sides: Mapping[Name, Side], rounds: int, seconds: float, connections: int, core: int
) -> dict[Name, list[float]]:
    """Return each side's rates, one a round, after a round that does not count. The sides take turns."""
    rates: dict[Name, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            measured = rate(side.port, side.requests(), seconds, connections, core)
            if number:
                rates[name].append(measured.rate)
    return rates


def rate(port: int, requests: Requests, seconds: float, connections: int, core: int) -> Measured:
    """Return responses a second, requested by a separate process on that core."""
    command = [sys.executable, "-m", "bench.load", str(port), str(seconds), str(connections)]
    content = json.dumps([request.decode("latin-1") for request in requests])
    done = subprocess.run(
        ["taskset", "-c", str(core), *command],
        input=content.encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-500:]
    return Measured(*map(float, done.stdout.split()))


def main() -> None:
    """Measure, and print the rate and the load's own share."""
    port, seconds, connections = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    requests = [text.encode("latin-1") for text in json.load(sys.stdin)]
    print(*_measured(port, requests, seconds, connections))


def _measured(port: int, requests: Requests, seconds: float, connections: int) -> Measured:
    with selectors.DefaultSelector() as selector:
        for place in range(connections):
            own = _share(requests, place, connections)
            line = socket.create_connection((HOST, port))
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(line, selectors.EVENT_READ, (own, bytearray()))
            line.sendall(next(own))
        started, used, answers = time.perf_counter(), time.process_time(), 0
        while (passed := time.perf_counter() - started) < seconds and selector.get_map():
            for key, _ in selector.select(1):
                line = key.fileobj  # type: ignore[assignment]
                own, received = key.data
                chunk = line.recv(65_536)
                assert chunk, "the server closed a connection"
                received.extend(chunk)
                if _is_whole(received):
                    assert received.startswith(b"HTTP/1.1 2"), bytes(received[:200])
                    received.clear()
                    answers += 1
                    following = next(own, None)
                    if following is None:
                        selector.unregister(line)
                    else:
                        line.sendall(following)
        return Measured(answers / passed, (time.process_time() - used) / passed)


def _share(requests: Requests, place: int, connections: int) -> Iterator[bytes]:
    if len(requests) <= connections:
        return repeat(requests[place % len(requests)])
    return iter(requests[place::connections])


def _is_whole(answer: bytearray) -> bool:
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = _LENGTH.search(answer, 0, end)
    return len(answer) >= end + 4 + (int(length[1]) if length else 0)


if __name__ == "__main__":
    main()
