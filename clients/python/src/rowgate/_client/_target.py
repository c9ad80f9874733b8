"""Where and how to connect: addresses, URLs, TLS, tokens."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union
from urllib.parse import parse_qsl, unquote, urlsplit

import grpc

from ._options import Timeout, seconds

Secret = Union[str, Callable[[], Any], None]
Pem = Union[str, bytes, Path, None]

PORT = 50051
#: Turns over all addresses of the name. It has no retry policy, and no other one is asked for: grpc cannot know what is safe
#: to repeat, but for a call that no server has seen, which it sends again without a policy.
_SERVICE_CONFIG = '{"loadBalancingConfig": [{"round_robin": {}}]}'
_SCHEMES = {"rowgate": False, "rowgates": True, "http": False, "https": True, "grpc": False, "grpcs": True}
#: The beginnings of addresses that grpc resolves in its own way.
_RESOLVERS = ("unix:", "dns:", "ipv4:", "ipv6:", "xds:")
_URL_OPTIONS = ("ca", "certificate", "private_key", "server_name", "tag", "timeout", "retries")


class Target(NamedTuple):
    """A server, the database there, and the identity of the caller."""

    address: str
    database: str
    secure: bool
    ca: Optional[bytes]
    certificate: Optional[bytes]
    private_key: Optional[bytes]
    server_name: Optional[str]
    token: Secret
    metadata: Tuple[Tuple[str, str], ...]
    timeout: Optional[float]
    tag: Optional[str]
    retries: int

    def channel_options(self, more: Sequence[Tuple[str, Any]]) -> List[Tuple[str, Any]]:
        """The options of the channel; `more` come last and win."""
        options: Dict[str, Any] = {
            "grpc.service_config": _SERVICE_CONFIG,
            "grpc.service_config_disable_resolution": 1,
            "grpc.max_receive_message_length": -1,
            "grpc.max_send_message_length": -1,
            "grpc.primary_user_agent": "rowgate-python",
            # A channel has an HTTP/2 connection of its own: a process that has many calls in one does not delay those in another.
            "grpc.use_local_subchannel_pool": 1,
            # A connection that has died without a word is noticed; more often is a flood to some proxies.
            "grpc.keepalive_time_ms": 300_000,
            "grpc.keepalive_timeout_ms": 20_000,
            "grpc.http2.max_pings_without_data": 0,
        }
        if self.server_name:
            options["grpc.ssl_target_name_override"] = self.server_name
        options.update(more)
        return list(options.items())

    def credentials(self) -> Any:
        """The credentials of a channel over TLS."""
        return grpc.ssl_channel_credentials(self.ca, self.private_key, self.certificate)


def resolve(
    address: str,
    *,
    database: Optional[str] = None,
    tls: Optional[bool] = None,
    ca: Pem = None,
    certificate: Pem = None,
    private_key: Pem = None,
    server_name: Optional[str] = None,
    token: Secret = None,
    metadata: Optional[Mapping[str, str]] = None,
    timeout: Timeout = 30.0,
    tag: Optional[str] = None,
    retries: int = 3,
) -> Target:
    """The target of an address such as `127.0.0.1:50051` or `127.0.0.1:50051/shop`, or of a URL such as `rowgates://:token@db.internal/shop?ca=ca.pem`."""
    if "://" in address:
        url = urlsplit(address)
        if url.scheme not in _SCHEMES:
            raise ValueError(f"the address has the scheme {url.scheme!r}; there are: {', '.join(_SCHEMES)}")
        given = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query)))
        for name in given:
            if name not in _URL_OPTIONS:
                raise ValueError(f"the address has the option {name!r}; there are: {', '.join(_URL_OPTIONS)}")
        tls = _SCHEMES[url.scheme] if tls is None else tls
        database = unquote(url.path[1:]) if database is None else database
        token = unquote(url.password) if token is None and url.password else token
        ca, server_name, tag = ca or given.get("ca"), server_name or given.get("server_name"), tag or given.get("tag")
        certificate, private_key = certificate or given.get("certificate"), private_key or given.get("private_key")
        timeout = float(given["timeout"]) if "timeout" in given else timeout
        retries = int(given["retries"]) if "retries" in given else retries
        address = url.netloc.rpartition("@")[2]
    elif "/" in address and not address.startswith(_RESOLVERS):
        address, _, path = address.partition("/")
        database = unquote(path) if database is None else database
    if not address:
        raise ValueError("the address is empty: write it as 127.0.0.1:50051, or as rowgate://127.0.0.1:50051/database")
    secure = bool(ca or certificate) if tls is None else tls
    if not secure and (ca or certificate):
        raise ValueError("a certificate or an authority is for TLS, which the address or tls=False excludes")
    if bool(certificate) != bool(private_key):
        raise ValueError("a client's certificate needs its private_key, and the key its certificate")
    host = _with_port(address)
    if token == "":
        raise ValueError("the token is empty; None is for no token")
    if token and not secure and not _is_local(host):
        raise ValueError("a token is sent over TLS only: set tls=True or ca, or write rowgates://")
    return Target(
        host,
        database or "",
        secure,
        _pem(ca),
        _pem(certificate),
        _pem(private_key),
        server_name,
        token,
        tuple((name.lower(), value) for name, value in (metadata or {}).items()),
        seconds(timeout),
        tag,
        retries,
    )


def _with_port(address: str) -> str:
    if address.startswith(_RESOLVERS):
        return address
    last = address.rpartition("]")[2] if address.startswith("[") else address
    return address if ":" in last else f"{address}:{PORT}"


def _is_local(host: str) -> bool:
    return host.startswith(("unix:", "127.", "localhost:", "[::1]:"))


def _pem(source: Pem) -> Optional[bytes]:
    """The content of a PEM file, or the bytes or text of one."""
    if source is None or isinstance(source, bytes):
        return source
    if isinstance(source, str) and "-----BEGIN" in source:
        return source.encode()
    return Path(source).read_bytes()


def bearer(token: str) -> Tuple[str, str]:
    """The header that carries a token."""
    return ("authorization", f"Bearer {token}")


def token_now(token: Callable[[], Any]) -> str:
    """The token of a callable. An asynchronous one is for `rowgate.aio`."""
    found = token()
    if inspect.isawaitable(found):
        close = getattr(found, "close", None)
        if close is not None:
            close()
        raise TypeError("the token's function is asynchronous: that is for rowgate.aio")
    return str(found)
