"""The messages of the API, from the descriptor set that the wheel's build generates out of the contract (proto/).

They live in a pool of their own: a program may have any other stubs of `rowgate.v1`, of `google.rpc` or of Rowgate's next
version beside this package, and any release of protobuf since 4.25, because no generated code is bound to one.
"""

from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

POOL = descriptor_pool.DescriptorPool()


def _load() -> None:
    described = descriptor_pb2.FileDescriptorSet()
    described.ParseFromString(files(__name__).joinpath("rowgate.binpb").read_bytes())
    for file in described.file:
        POOL.AddSerializedFile(file.SerializeToString())


_load()


def message(name: str) -> Any:
    """The class of a message, by its name inside `rowgate.v1` or its full name."""
    full = name if "." in name else f"rowgate.v1.{name}"
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(full))


Value = message("Value")
ArrayValue = message("ArrayValue")
RecordValue = message("RecordValue")
ResultReference = message("ResultReference")
Row = message("Row")
RowBatch = message("RowBatch")
ResultSet = message("ResultSet")
QueryOptions = message("QueryOptions")
Setting = message("Setting")
QueryRequest = message("QueryRequest")
QueryResponse = message("QueryResponse")
StreamQueryRequest = message("StreamQueryRequest")
StreamQueryResponse = message("StreamQueryResponse")
BatchStatement = message("BatchStatement")
Expectation = message("Expectation")
ExecuteBatchRequest = message("ExecuteBatchRequest")
ExecuteBatchResponse = message("ExecuteBatchResponse")
TransactionOptions = message("TransactionOptions")
TransactRequest = message("TransactRequest")
TransactResponse = message("TransactResponse")
TransactQuery = message("TransactQuery")
TransactBatch = message("TransactBatch")
Begin = message("Begin")
Savepoint = message("Savepoint")
RollbackTo = message("RollbackTo")
Release = message("Release")
Commit = message("Commit")
Rollback = message("Rollback")
DescribeStatementRequest = message("DescribeStatementRequest")
DescribeStatementResponse = message("DescribeStatementResponse")
GetTransactionOutcomeRequest = message("GetTransactionOutcomeRequest")
GetTransactionOutcomeResponse = message("GetTransactionOutcomeResponse")
ListenRequest = message("ListenRequest")
ListenResponse = message("ListenResponse")
CopyInStart = message("CopyInStart")
CopyInEnd = message("CopyInEnd")
CopyInRequest = message("CopyInRequest")
CopyInResponse = message("CopyInResponse")
CopyOutRequest = message("CopyOutRequest")
CopyOutResponse = message("CopyOutResponse")
CopyTextOptions = message("CopyTextOptions")
GetServerInfoRequest = message("GetServerInfoRequest")
GetServerInfoResponse = message("GetServerInfoResponse")
DatabaseError = message("DatabaseError")
Status = message("google.rpc.Status")
ErrorInfo = message("google.rpc.ErrorInfo")
RetryInfo = message("google.rpc.RetryInfo")
BadRequest = message("google.rpc.BadRequest")
