"""A proxy between a client and the real server that loses what tests want it to lose."""

import contextlib
import socket
import struct
import threading
from typing import Callable, List, Tuple

HEADER_LENGTH, DATA, HEADERS = 9, 0, 1
RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Passes bytes to a server and back. While `loses` is positive it drops the next answer, and the connection with it."""

    #: The frames that are answers.
    answers: Tuple[int, ...] = (HEADERS,)

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.loses = 0
        #: Called when an answer has been dropped, before the client sees the end of the connection.
        self.on_loss: Callable[[], object] = lambda: None
        #: Resets new connections, as if the server were gone.
        self.refuses = False
        #: Passes no request on, and ends the connection of the next one.
        self.swallows = False
        #: The connections that were made so far.
        self.accepted = 0
        self._sockets: List[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def refuse(self) -> None:
        """Resets new connections from now on."""
        self.refuses = True

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.refuses:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            for pass_on in (self._requests, self._answers):
                threading.Thread(target=pass_on, args=(client, server), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(65536):
                if self.swallows:
                    self.swallows = False
                    client.shutdown(socket.SHUT_RDWR)
                    break
                server.sendall(data)
        except OSError:
            pass
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        file = server.makefile("rb")
        try:
            while head := file.read(HEADER_LENGTH):
                frame = head + file.read(int.from_bytes(head[:3], "big"))
                if head[3] in self.answers and self.loses > 0:
                    self.loses -= 1
                    self.on_loss()
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(frame)
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        """Ends all connections."""
        for each in self._sockets:
            each.close()


class DataProxy(Proxy):
    """A proxy that also loses the messages of a stream."""

    answers = (DATA, HEADERS)
