"""Abuses of a server: each is a function of a place to abuse, which goes on until its time is over.

All are paced, since abuser, server, database and the innocent client share the processors of one machine: a network lets
through as much as the server takes, and so the rates here are what one sender of a small part of the machine makes.
"""

import base64
import contextlib
import os
import socket
import ssl
import struct
import time
from dataclasses import dataclass

from frames import (
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, PRIORITY, QUERY, RST_STREAM, SETTINGS, STREAM_QUERY,
    TRANSACT, WINDOW_UPDATE, Connection, begin, block, field, frame, prefixed, query,
)

TICK = 0.01
CANCEL = struct.pack(">I", 8)
LARGE = "select repeat('x', 2900000)"


@dataclass
class Place:
    """A server, and what there is to abuse it with."""

    port: int
    ops: int
    ca: str | None
    token: str | None
    limited: str | None
    issuer: str
    key_id: str
    until: float = 0

    def connect(self, **options):
        return Connection(self.port, self.ca, **options)

    def ticks(self):
        """Each hundredth of a second until the end. A late one is not made up for."""
        while time.monotonic() < self.until:
            start = time.monotonic()
            yield
            time.sleep(max(0.0, start + TICK - time.monotonic()))


class Line:
    """A connection that is opened again when the server has closed it, ten times a second at most."""

    def __init__(self, place, prepare=None):
        self.place, self.prepare = place, prepare
        self.connection, self.opened, self.closed = None, 0.0, 0

    def send(self, make):
        """Sends what `make` returns for the connection; what comes back is not read."""
        try:
            if self.connection is None:
                if time.monotonic() < self.opened + 0.1:
                    return
                self.opened = time.monotonic()
                self.connection = self.place.connect()
                self.connection.socket.settimeout(0.05)
                if self.prepare:
                    self.prepare(self.connection)
            self.connection.send(make(self.connection))
        except TimeoutError:
            pass
        except OSError:
            self.closed += 1
            if self.connection:
                self.connection.close()
            self.connection = None


def repeated(place, make, connections=4, prepare=None):
    """Sends on some connections at each tick, and reads nothing."""
    lines = [Line(place, prepare) for _ in range(connections)]
    for _ in place.ticks():
        for line in lines:
            line.send(make)
    return f"{sum(line.closed for line in lines)} connections closed"


def flood(kind, payload, stream=0):
    """20,000 frames a second on four connections."""
    return lambda place: repeated(place, lambda _: frame(kind, 0, stream, payload) * 50)


def resets(place):
    """2,000 calls a second, each given up at once."""
    headers, message = block(QUERY), prefixed(query("select pg_sleep(0.01)"))

    def make(connection):
        out = b""
        for _ in range(5):
            stream, head = connection.open(headers)
            out += head + frame(DATA, END_STREAM, stream, message) + frame(RST_STREAM, 0, stream, CANCEL)
        return out

    return repeated(place, make)


def continuations(place):
    """Headers that do not end: 2,000 frames a second."""
    part = frame(CONTINUATION, 0, 1, b"\0\x01a\x01b" * 20)
    return repeated(place, lambda _: part * 5, prepare=lambda it: it.send(frame(HEADERS, 0, 1, block(QUERY))))


def silent(port_of, count=500, first=b"", byte_by_byte=b""):
    """Connections that say nothing, or say it slowly."""

    def run(place):
        opened, refused = [], 0
        for _ in place.ticks():
            if len(opened) < count:
                for _ in range(5):
                    try:
                        one = socket.create_connection(("127.0.0.1", port_of(place)), timeout=0.2)
                        one.sendall(first)
                        opened.append(one)
                    except OSError:
                        refused += 1
            elif byte_by_byte:
                sent = int((place.until - time.monotonic()) * 10) % len(byte_by_byte)
                for one in opened[sent :: len(byte_by_byte)]:
                    with contextlib.suppress(OSError):
                        one.sendall(byte_by_byte[sent : sent + 1])
        return f"{len(opened)} opened, {refused} refused"

    return run


def handshakes(place):
    """200 handshakes of TLS a second that the client leaves half done."""
    context = ssl.create_default_context(cafile=place.ca)
    context.set_alpn_protocols(["h2"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    half = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with contextlib.suppress(ssl.SSLWantReadError):
        half.do_handshake()
    hello, opened, made = outgoing.read(), [], 0
    for _ in place.ticks():
        for _ in range(2):
            with contextlib.suppress(OSError):
                one = socket.create_connection(("127.0.0.1", place.port), timeout=0.2)
                one.sendall(hello)
                opened.append(one)
                made += 1
        while len(opened) > 400:
            opened.pop(0).close()
    return f"{made} begun"


def unread(path, message, rate, connections=20):
    """Calls whose answers nobody takes, `rate` a second, on connections that leave their windows as they are."""

    def run(place):
        lines, made = [place.connect() for _ in range(connections)], 0
        headers, start = block(path, place.token), time.monotonic()
        for _ in place.ticks():
            while made < (time.monotonic() - start) * rate:
                lines[made % connections].call(headers, message)
                made += 1
        return f"{made} answers unread"

    return run


def asked(make_token, rate):
    """Calls with tokens that are no good."""

    def run(place):
        def make(connection):
            out = b""
            for _ in range(rate // 400):
                stream, head = connection.open(block(QUERY, make_token(place)))
                out += head + frame(DATA, END_STREAM, stream, prefixed(query("select 1")))
            return out

        return drained(place, make)

    return run


def drained(place, make, connections=4):
    """The same as `repeated`, and reads what comes back."""

    def send(connection):
        connection.socket.settimeout(0)
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            while connection.socket.recv(1 << 16):
                pass
        connection.socket.settimeout(0.05)
        return make(connection)

    return repeated(place, send, connections)


def random_token(_):
    return "rg_" + base64.urlsafe_b64encode(os.urandom(9)).decode().replace("-", "0").replace("_", "1") + "_" + os.urandom(20).hex()


def part(text):
    return base64.urlsafe_b64encode(text.encode() if isinstance(text, str) else text).decode().rstrip("=")


def web_token(place, key_id):
    """A JSON Web Token of the right shape with a signature of nobody."""
    claims = f'{{"iss":"{place.issuer}","aud":"rowgate","sub":"shop","exp":{int(time.time()) + 600},"n":"{os.urandom(6).hex()}"}}'
    return f'{part(f"""{{"alg":"ES256","kid":"{key_id}"}}""")}.{part(claims)}.{part(os.urandom(64))}'


def large_headers(place):
    """Calls with 60 KiB of headers, 100 a second."""
    extra = [(f"x-{number}", "v" * 1000) for number in range(60)]
    whole = block(QUERY, place.token, extra)
    pieces = [whole[at : at + 16384] for at in range(0, len(whole), 16384)]

    def make(connection):
        if int(time.monotonic() * 100) % 4:
            return b""
        stream, connection.next_stream = connection.next_stream, connection.next_stream + 2
        out = frame(HEADERS, END_STREAM, stream, pieces[0])
        for number, piece in enumerate(pieces[1:], 2):
            out += frame(CONTINUATION, END_HEADERS if number == len(pieces) else 0, stream, piece)
        return out

    return repeated(place, make)


def large_messages(announced):
    """Messages that are announced as so large, and of which only a window comes; 800 on eight connections."""

    def run(place):
        lines, headers = [place.connect() for _ in range(8)], block(QUERY, place.token)
        start, made = b"\0" + struct.pack(">I", announced), 0
        for _ in place.ticks():
            if made >= 800:
                continue
            for line in lines:
                with contextlib.suppress(OSError):
                    stream, head = line.open(headers)
                    line.socket.settimeout(0.02)
                    line.send(head + frame(DATA, 0, stream, start) + frame(DATA, 0, stream, b"x" * 8000))
                    made += 1
        return f"{made} begun"

    return run


def transactions(place):
    """400 transactions on four connections that begin, or want to, and then do nothing."""
    lines, headers, made = [place.connect() for _ in range(4)], block(TRANSACT, place.token), 0
    for _ in place.ticks():
        if made < 400:
            for line in lines:
                stream, head = line.open(headers)
                line.send(head + frame(DATA, 0, stream, prefixed(begin())))
                made += 1
    for line in lines:
        line.close()
    return f"{made} begun"


def over_limits(place):
    """2,000 calls a second of a caller that may make 50."""
    headers, message = block(QUERY, place.limited), query("select 1")

    def make(connection):
        return b"".join(
            head + frame(DATA, END_STREAM, stream, prefixed(message))
            for stream, head in (connection.open(headers) for _ in range(5))
        )

    return drained(place, make)


# The name, the abuse, and if its server knows its callers and speaks TLS.
ABUSES = [
    ("PING flood", flood(PING, b"7" * 8), False),
    ("SETTINGS flood", flood(SETTINGS, b""), False),
    ("WINDOW_UPDATE flood", flood(WINDOW_UPDATE, struct.pack(">I", 1)), False),
    ("PRIORITY flood", flood(PRIORITY, struct.pack(">IB", 0, 1), stream=3), False),
    ("CONTINUATION flood", continuations, False),
    ("rapid reset", resets, False),
    ("silent, gRPC", silent(lambda place: place.port), False),
    ("silent, operators' port", silent(lambda place: place.ops), False),
    ("slow preface", silent(lambda place: place.port, 300, byte_by_byte=PREFACE), False),
    ("unread unary answers", unread(QUERY, query(LARGE), 40), False),
    ("unread streams", unread(STREAM_QUERY, field(1, query("select n, repeat('x', 100) from generate_series(1, 1000000) n")), 40), False),
    ("large headers", large_headers, False),
    ("large messages", large_messages(1 << 30), False),
    ("messages that stop", large_messages(4_000_000), False),
    ("idle transactions", transactions, False),
    ("half handshakes", handshakes, True),
    ("unknown tokens", asked(random_token, 2000), True),
    ("unknown kids", asked(lambda place: web_token(place, os.urandom(4).hex()), 2000), True),
    ("forged signatures", asked(lambda place: web_token(place, place.key_id), 1200), True),
    ("a caller over its limits", over_limits, True),
]
