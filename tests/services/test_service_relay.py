"""The port of a service in an operator's namespace."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator

import pytest

from gateway.services.relay import Door


class ShortOfDescriptors(socket.socket):
    """A listener whose process may open no further file at the first two callers."""

    refusals = 2

    def accept(self) -> tuple[socket.socket, object]:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


@pytest.fixture
def echo() -> Iterator[int]:
    """A service that sends back what it is sent, one caller at a time."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    caller, _ = server.accept()
                except OSError:
                    return
                with caller:
                    while data := caller.recv(64):
                        caller.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_a_door_outlives_a_moment_without_descriptors(echo: int) -> None:
    listener = ShortOfDescriptors()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    door = Door(listener, lambda: socket.create_connection(("127.0.0.1", echo), 5))
    try:
        for _ in range(2):
            with socket.create_connection(listener.getsockname(), 5) as caller:
                caller.sendall(b"there")
                assert caller.recv(64) == b"there"
    finally:
        door.close()
