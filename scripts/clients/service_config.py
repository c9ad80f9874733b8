"""Whether the recommended service config repeats a write whose connection is lost after it was sent.

Usage: service_config.py ADDRESS SERVICE_CONFIG
"""

import json
import pathlib
import socket
import sys
import threading

import grpc
from reflected import Server

ADDRESS, CONFIG = sys.argv[1], pathlib.Path(sys.argv[2]).read_text()
SERVER = Server(ADDRESS)
Request = SERVER.message("QueryRequest")
INSERT = "insert into service_config values (1)"


def query(channel, sql):
    call = channel.unary_unary(
        "/rowgate.v1.DatabaseService/Query",
        request_serializer=Request.SerializeToString,
        response_deserializer=SERVER.message("QueryResponse").FromString,
    )
    return call(Request(sql=sql), timeout=10).result


class LosesOneAnswer:
    """A proxy that closes the first connection on which INSERT is sent when its answer comes."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "%s:%d" % self.listener.getsockname()
        self.lost = False
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(ADDRESS.split(":"))
            sent = threading.Event()
            threading.Thread(target=self.up, args=(client, server, sent), daemon=True).start()
            threading.Thread(target=self.down, args=(server, client, sent), daemon=True).start()

    def up(self, client, server, sent):
        while data := client.recv(65536):
            if INSERT.encode() in data and not self.lost:
                self.lost = True
                sent.set()
            server.sendall(data)

    def down(self, server, client, sent):
        while data := server.recv(65536):
            # Frames of PING, SETTINGS and WINDOW_UPDATE may come before the answer.
            if sent.is_set() and rows() > 0:
                client.shutdown(socket.SHUT_RDWR)
                return
            client.sendall(data)


direct = grpc.insecure_channel(ADDRESS)


def rows():
    return query(direct, "select count(*) from service_config").rows[0].values[0].int64_value


def inserted(config):
    """How many rows there are after one insert whose answer is lost."""
    query(direct, "drop table if exists service_config")
    query(direct, "create table service_config (n int)")
    proxy = LosesOneAnswer()
    with grpc.insecure_channel(proxy.address, options=[("grpc.service_config", config)]) as channel:
        try:
            query(channel, INSERT)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.UNAVAILABLE, error
    assert proxy.lost, "no answer was lost"
    count = rows()
    query(direct, "drop table service_config")
    return count


count = inserted(CONFIG)
assert count == 1, f"the insert was applied {count} times"
print("ok   the recommended service config: applied once")

naive = json.loads(CONFIG)
naive["methodConfig"][0]["name"] = [{"service": "rowgate.v1.DatabaseService"}]
count = inserted(json.dumps(naive))
assert count == 2, f"the check sees nothing: with the policy over every method it was applied {count} times"
print("ok   the same policy over every method: applied twice, as this check can see")
