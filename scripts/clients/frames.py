"""HTTP/2 by hand, and just enough of gRPC and of Rowgate's messages: clients that do what no library does."""

import socket
import ssl
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 6, 7, 8, 9
ACK, END_STREAM, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE = 4

QUERY = "/rowgate.v1.DatabaseService/Query"
STREAM_QUERY = "/rowgate.v1.DatabaseService/StreamQuery"
TRANSACT = "/rowgate.v1.DatabaseService/Transact"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, data):
    """A field of protobuf that has a length."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def query(sql):
    """A QueryRequest."""
    return field(2, sql.encode())


def begin(sequence=1):
    """A TransactRequest that begins a transaction."""
    return varint(1 << 3) + varint(sequence) + field(2, b"")


def prefixed(message):
    """A message as gRPC sends it."""
    return b"\0" + struct.pack(">I", len(message)) + message


def _text(text):
    """A literal of HPACK (RFC 7541, 5.2), without Huffman's code."""
    data = text.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    return b"\x7f" + varint(len(data) - 127) + data


def block(path, token=None, extra=()):
    """The headers of a call: literals without indexing."""
    headers = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x")]
    headers += [("content-type", "application/grpc"), ("te", "trailers")]
    if token:
        headers.append(("authorization", f"Bearer {token}"))
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in [*headers, *extra])


class Connection:
    """A connection on which nothing is sent but what the caller sends."""

    def __init__(self, port, ca=None, window=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if ca:
            context = ssl.create_default_context(cafile=ca)
            context.set_alpn_protocols(["h2"])
            self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        settings = b"" if window is None else struct.pack(">HI", INITIAL_WINDOW_SIZE, window)
        self.send(PREFACE + frame(SETTINGS, 0, 0, settings))
        self.next_stream = 1
        self.unread = b""

    def send(self, data):
        self.socket.sendall(data)

    def open(self, headers):
        """Begins a call: its stream, and the frame to send."""
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        return stream, frame(HEADERS, END_HEADERS, stream, headers)

    def call(self, headers, message):
        """Sends a whole call, and returns its stream."""
        stream, head = self.open(headers)
        self.send(head + frame(DATA, END_STREAM, stream, prefixed(message)))
        return stream

    def _take(self, count):
        while len(self.unread) < count:
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionError("the server closed the connection")
            self.unread += data
        taken, self.unread = self.unread[:count], self.unread[count:]
        return taken

    def read(self):
        """The next frame: kind, flags, stream and payload."""
        head = self._take(9)
        length, (stream,) = int.from_bytes(head[:3], "big"), struct.unpack(">I", head[5:])
        return head[3], head[4], stream, self._take(length)

    def answer(self, stream):
        """The bytes of the messages of a call that answers; what the connection needs is answered, too."""
        received = 0
        while True:
            kind, flags, where, payload = self.read()
            if kind == PING and not flags & ACK:
                self.send(frame(PING, ACK, 0, payload))
            elif kind == SETTINGS and not flags & ACK:
                self.send(frame(SETTINGS, ACK, 0))
            elif kind == DATA and payload:
                self.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload))))
                received += len(payload)
            if kind == GOAWAY or (kind == RST_STREAM and where == stream):
                raise ConnectionError("the server ended the call")
            if where == stream and kind in (DATA, HEADERS) and flags & END_STREAM:
                return received

    def close(self):
        self.socket.close()
