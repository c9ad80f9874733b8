"""Connecting: the arguments of `connect`, in the forms that psycopg2 takes as well."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Any, Optional
from urllib.parse import parse_qsl, unquote, urlsplit

import rowgate

from .. import _errors as errors
from . import _objects as objects
from ._connection import Connection
from ._settings import Settings, TransactionModes, level

DEFAULT_PORT = 50051


def connect(
    dsn: Optional[str] = None,
    *,
    host: Optional[str] = None,
    port: Optional[int] = None,
    database: Optional[str] = None,
    dbname: Optional[str] = None,
    user: Optional[str] = None,
    password: Optional[str] = None,
    token: Optional[str] = None,
    backend: Optional[str] = None,
    autocommit: Optional[bool] = None,
    isolation_level: Optional[str] = None,
    readonly: Optional[bool] = None,
    deferrable: Optional[bool] = None,
    paramstyle: Optional[str] = None,
    timeout: Optional[float] = None,
    outcome_timeout: Optional[float] = None,
    commit_keys: Optional[bool] = None,
    tag: Optional[str] = None,
    settings: Optional[Mapping[str, str]] = None,
    json_loads: Optional[Callable[[str], Any]] = None,
    statement_savepoints: Optional[bool] = None,
    **options: Any,
) -> Connection:
    """Connects to a database of a server.

    `dsn` is `HOST:PORT/DATABASE`, a URL `rowgate://TOKEN@HOST:PORT/DATABASE?NAME=VALUE`, or `host=… port=… dbname=…` as
    for psycopg2; the other arguments go before it. `database`, or `dbname`, is the logical name of the database at the
    server; without it its default one. `token`, or `password`, is the caller's token; a `user` is not sent, as callers are
    told by their tokens. `backend` (`postgres`, `mysql`, `sqlite`) saves the call that asks the server for it. All
    other arguments are those of `rowgate.connect` (`tls`, …).
    """
    del user
    given = _parse(dsn) if dsn else {}
    named = {"host": host, "port": port, "database": database or dbname, "token": token or password}
    modes_named = {"isolation_level": isolation_level, "readonly": readonly, "deferrable": deferrable}
    own_named = {
        "autocommit": autocommit,
        "paramstyle": paramstyle,
        "timeout": timeout,
        "outcome_timeout": outcome_timeout,
        "commit_keys": commit_keys,
        "tag": tag,
        "settings": settings,
        "json_loads": json_loads,
        "statement_savepoints": statement_savepoints,
    }
    every = {**named, **modes_named, **own_named, "backend": backend}
    given.update({name: value for name, value in every.items() if value is not None}, **options)
    address = f"{given.pop('host', '127.0.0.1')}:{given.pop('port', DEFAULT_PORT)}"
    name = given.pop("database", "")
    own = Settings(**{option: given.pop(option) for option in own_named if option in given})
    modes = TransactionModes(**{option: given.pop(option) for option in modes_named if option in given})
    modes.isolation_level = level(modes.isolation_level)
    backend = given.pop("backend", None)
    opened: Connection = given.pop("opener", _open)(address, name, backend, own, modes, given)
    return opened


def _open(
    address: str, name: str, backend: Optional[str], own: Settings, modes: TransactionModes, options: Mapping[str, Any]
) -> Connection:
    decoder = objects.decoder(backend or "postgres", own.json_loads)
    database = rowgate.connect(address, database=name, decoder=decoder, **options)
    if backend is None:
        try:
            backend = _backend(database, address, name)
        except BaseException:
            database.close()
            raise
        database.planner = objects.decoder(backend, own.json_loads)
    return Connection(database, backend, own, modes)


def _backend(database: rowgate.Connection, address: str, name: str) -> str:
    """The kind of the database, as the server tells it: `postgres`, `mysql` or `sqlite`."""
    info = database.server_info()
    wanted = name or info.default_database
    if wanted not in info.databases:
        raise errors.OperationalError(
            f"the server at {address} has no database {wanted!r}", hint=f"it has {', '.join(info.databases)}"
        )
    return str(info.databases[wanted].backend)


# The options of texts that are no texts.
_NUMBERS = {"timeout": float, "outcome_timeout": float, "retries": int}
_SWITCHES = frozenset("autocommit readonly deferrable commit_keys statement_savepoints tls wait_for_ready".split())
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def typed(texts: Mapping[str, str]) -> dict[str, Any]:
    """The options of a DSN or URL, with the types that `connect` takes. `settings.NAME` is a setting of PostgreSQL's."""
    options: dict[str, Any] = {}
    for name, text in texts.items():
        if name.startswith("settings."):
            options.setdefault("settings", {})[name.partition(".")[2]] = text
        elif name in _SWITCHES:
            if text.lower() not in _BOOLEANS:
                raise errors.InterfaceError(f"the option {name} is {text!r}: write true or false")
            options[name] = _BOOLEANS[text.lower()]
        elif name in _NUMBERS:
            try:
                options[name] = _NUMBERS[name](text)
            except ValueError:
                raise errors.InterfaceError(f"the option {name} is {text!r}, which is no number") from None
        else:
            options[name] = text
    return options


def _parse(dsn: str) -> dict[str, Any]:
    if "://" in dsn:
        return _parse_url(dsn)
    if "=" in dsn:
        words = dict(word.split("=", 1) for word in shlex.split(dsn))
        if "dbname" in words:
            words["database"] = words.pop("dbname")
        if "password" in words:
            words["token"] = words.pop("password")
        words.pop("user", None)
        return typed(words)
    return _parse_url(f"rowgate://{dsn}")


def _parse_url(text: str) -> dict[str, Any]:
    url = urlsplit(text)
    if url.scheme != "rowgate":
        raise errors.InterfaceError(
            f"the DSN begins with {url.scheme}://, which is no server of Rowgate: write rowgate://HOST:PORT/DATABASE"
        )
    given = typed(dict(parse_qsl(url.query, keep_blank_values=True)))
    parts = {"host": url.hostname, "port": url.port, "database": url.path.strip("/")}
    given.update({name: value for name, value in parts.items() if value})
    secret = url.password or url.username
    if secret:
        given["token"] = unquote(secret)
    return given
