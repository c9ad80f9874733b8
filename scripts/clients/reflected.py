"""A client of a server of which it knows only the address: messages and methods come from reflection."""

import queue

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

PATIENCE = 30  # seconds


class Server:
    """One connection to a server; each has its own, as clients in different processes have."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.pool = DescriptorPool(ProtoReflectionDescriptorDatabase(self.channel))

    def message(self, name):
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(f"rowgate.v1.{name}"))

    def method(self, service, name, kind):
        """`kind` is the name of one of grpc's: `unary_unary`, `stream_stream`."""
        full = f"rowgate.v1.{service}"
        description = self.pool.FindServiceByName(full).FindMethodByName(name)
        answer = message_factory.GetMessageClass(description.output_type)
        return getattr(self.channel, kind)(
            f"/{full}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )

    def value(self, python):
        return self.message("Value")(**{kind(python): 0 if python is None else python})


def kind(python):
    kinds = {type(None): "null_value", bool: "bool_value", int: "int64_value", float: "float64_value",
             str: "text_value", bytes: "bytes_value"}
    return kinds[type(python)]


def plain(row):
    """The values of a row as Python's."""
    found = [(value, value.WhichOneof("kind")) for value in row.values]
    return [None if name == "null_value" else getattr(value, name) for value, name in found]


class Failed(Exception):
    """An `error` reply, which leaves the stream open."""

    def __init__(self, status):
        info = error_details_pb2.ErrorInfo()
        any(detail.Unpack(info) for detail in status.details)
        self.reason, self.outcome = info.reason, info.metadata["outcome"]
        super().__init__(f"{self.reason}: {status.message}")


class Transaction:
    """An interactive transaction: sends commands one by one, waits for each reply."""

    def __init__(self, server, **begin):
        self.server, self.commands, self.sequence = server, queue.SimpleQueue(), 0
        call = server.method("DatabaseService", "Transact", "stream_stream")
        self.replies = call(iter(self.commands.get, None), timeout=PATIENCE)
        self.send("begin", server.message("Begin")(**begin))
        self.receive("begun")

    def send(self, name, command):
        self.sequence += 1
        request = self.server.message("TransactRequest")(sequence=self.sequence)
        getattr(request, name).CopyFrom(command)
        self.commands.put(request)

    def receive(self, *wanted):
        reply = next(self.replies)
        name = reply.WhichOneof("reply")
        if name == "error":
            raise Failed(reply.error)
        assert name in wanted, f"{name} instead of {wanted}"
        return getattr(reply, name)

    def send_query(self, sql, *parameters):
        values = [self.server.value(parameter) for parameter in parameters]
        self.send("query", self.server.message("TransactQuery")(sql=sql, parameters=values))

    def rows(self):
        """The rows of the statement that was sent first of those that are not answered."""
        rows, more = [], True
        while more:
            part = self.receive("result")
            rows.extend(plain(row) for row in part.result_set.rows)
            more = part.more
        return rows

    def query(self, sql, *parameters):
        self.send_query(sql, *parameters)
        return self.rows()

    def do(self, command, message, reply, **fields):
        self.send(command, self.server.message(message)(**fields))
        return self.receive(reply)

    def savepoint(self, name):
        self.do("savepoint", "Savepoint", "done", name=name)

    def rollback_to(self, name):
        self.do("rollback_to", "RollbackTo", "done", name=name)

    def commit(self):
        self.do("commit", "Commit", "committed")
        self.close()

    def rollback(self):
        self.do("rollback", "Rollback", "rolled_back")
        self.close()

    def close(self):
        """Closes our side and waits for the end of the stream."""
        self.commands.put(None)
        for reply in self.replies:
            raise AssertionError(f"a reply after the end: {reply}")

    def cancel(self):
        self.replies.cancel()
        self.commands.put(None)
