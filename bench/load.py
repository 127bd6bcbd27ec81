"""Load over HTTP/1.1 on kept connections: as many requests a second as the server answers.

`python -m bench.load PORT SECONDS CONNECTIONS < REQUEST` prints the rate. It sends the request repeatedly, from one
process, and raises AssertionError for a response other than 2xx.
"""

from __future__ import annotations

import re
import selectors
import socket
import subprocess
import sys
import time
from typing import Final

HOST: Final = "127.0.0.1"
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


def rate(port: int, request: bytes, seconds: float, connections: int, core: int) -> float:
    """Return responses a second, requested by a separate process on that core."""
    command = [sys.executable, "-m", "bench.load", str(port), str(seconds), str(connections)]
    done = subprocess.run(
        ["taskset", "-c", str(core), *command], input=request, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-500:]
    return float(done.stdout)


def main() -> None:
    """Measure, and print the rate."""
    port, seconds, connections = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    print(_measured(port, sys.stdin.buffer.read(), seconds, connections))


def _measured(port: int, request: bytes, seconds: float, connections: int) -> float:
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            line = socket.create_connection((HOST, port))
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(line, selectors.EVENT_READ, bytearray())
            line.sendall(request)
        started, answers = time.perf_counter(), 0
        while (passed := time.perf_counter() - started) < seconds:
            for key, _ in selector.select(1):
                line = key.fileobj  # type: ignore[assignment]
                key.data.extend(line.recv(65_536))
                if _is_whole(key.data):
                    assert key.data.startswith(b"HTTP/1.1 2"), bytes(key.data[:200])
                    key.data.clear()
                    answers += 1
                    line.sendall(request)
        return answers / passed


def _is_whole(answer: bytearray) -> bool:
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = _LENGTH.search(answer, 0, end)
    return len(answer) >= end + 4 + (int(length[1]) if length else 0)


if __name__ == "__main__":
    main()
