"""A proxy before a server, which cuts connections as an outage of the server does."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading


class Proxy:
    """Forward TCP connections to a port, and refuse them while it is off.

    ``refuse(count)`` cuts the open connections and refuses the next ``count``.
    """

    def __init__(self, target: int) -> None:
        self.target, self.left, self.refused = target, 0, 0
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def refuse(self, count: int) -> None:
        self.left = count
        for each in list(self._open):
            _cut(each)

    def close(self) -> None:
        self._listening.close()
        self.refuse(0)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                incoming, _ = self._listening.accept()
                if self.left:
                    self.left, self.refused = self.left - 1, self.refused + 1
                    _cut(incoming)
                    continue
                outgoing = socket.create_connection(("127.0.0.1", self.target))
                self._open |= {incoming, outgoing}
                for pair in ((incoming, outgoing), (outgoing, incoming)):
                    threading.Thread(target=self._forward, args=pair, daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while received := source.recv(65536):
                sink.sendall(received)
        for each in (source, sink):
            _cut(each)
            self._open.discard(each)


def _cut(connection: socket.socket) -> None:
    """Reset a connection, as a server that is killed does."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
