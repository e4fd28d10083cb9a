"""The evaluating process: ``python -m gateway.routing.worker <socket descriptor>``.

CEL holds the interpreter's lock while it evaluates, so it runs here and not beside the receiver.
The process ends when the gateway closes its end, is killed by it at the deadline, and ends itself
soon after one when the gateway is no longer there to do it.
"""

from __future__ import annotations

import resource
import signal
import socket
import sys
from collections.abc import Sequence

from gateway.routing.channel import Channel, Closed
from gateway.routing.evaluation import evaluate

MEMORY = 1024 * 1024 * 1024
"""Address space of the process, bytes: an expression that builds lists of lists of lists ends
here and not in the memory of the machine."""
GRACE = 1.0
"""Seconds past the deadline after which the process ends itself."""


def main(arguments: Sequence[str]) -> int:
    """Answer requests until the other side closes; returns the exit status."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Python's own handler would wait for the lock that CEL holds; the system's does not.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with socket.socket(fileno=int(arguments[0])) as sock:
        channel = Channel(sock)
        channel.send({"ready": True})
        try:
            while True:
                message = channel.receive()
                signal.setitimer(signal.ITIMER_REAL, message["seconds"] + GRACE)
                answer = evaluate(message["request"])
                signal.setitimer(signal.ITIMER_REAL, 0)
                channel.send(answer)
        except Closed:
            return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
