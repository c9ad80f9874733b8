"""The methods of the services, over a channel for threads or one for asyncio: both are called in the same way."""

from typing import Any, Dict, Tuple

from .. import _proto

_DATABASE: Dict[str, Tuple[str, Any, Any]] = {
    "Query": ("unary_unary", _proto.QueryRequest, _proto.QueryResponse),
    "StreamQuery": ("unary_stream", _proto.StreamQueryRequest, _proto.StreamQueryResponse),
    "ExecuteBatch": ("unary_unary", _proto.ExecuteBatchRequest, _proto.ExecuteBatchResponse),
    "Transact": ("stream_stream", _proto.TransactRequest, _proto.TransactResponse),
    "GetTransactionOutcome": (
        "unary_unary",
        _proto.GetTransactionOutcomeRequest,
        _proto.GetTransactionOutcomeResponse,
    ),
    "DescribeStatement": ("unary_unary", _proto.DescribeStatementRequest, _proto.DescribeStatementResponse),
    "Listen": ("unary_stream", _proto.ListenRequest, _proto.ListenResponse),
    "CopyIn": ("stream_unary", _proto.CopyInRequest, _proto.CopyInResponse),
    "CopyOut": ("unary_stream", _proto.CopyOutRequest, _proto.CopyOutResponse),
}
_SERVER: Dict[str, Tuple[str, Any, Any]] = {
    "GetServerInfo": ("unary_unary", _proto.GetServerInfoRequest, _proto.GetServerInfoResponse),
}


class Methods:
    """Each method by its name."""

    Query: Any
    StreamQuery: Any
    ExecuteBatch: Any
    Transact: Any
    GetTransactionOutcome: Any
    DescribeStatement: Any
    Listen: Any
    CopyIn: Any
    CopyOut: Any
    GetServerInfo: Any

    def __init__(self, channel: Any) -> None:
        for service, methods in (("DatabaseService", _DATABASE), ("ServerService", _SERVER)):
            for name, (kind, request, response) in methods.items():
                made = getattr(channel, kind)(
                    f"/rowgate.v1.{service}/{name}",
                    request_serializer=request.SerializeToString,
                    response_deserializer=response.FromString,
                )
                setattr(self, name, made)
