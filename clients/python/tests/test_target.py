"""Addresses, URLs, TLS, certificates and tokens."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest
from servers import Server

import rowgate
from rowgate._client._target import resolve


@pytest.mark.parametrize(
    ("address", "options", "wanted"),
    [
        ("127.0.0.1:50051", {}, {"address": "127.0.0.1:50051", "database": "", "secure": False, "timeout": 30}),
        ("db.internal", {"database": "shop"}, {"address": "db.internal:50051", "database": "shop"}),
        ("[::1]", {}, {"address": "[::1]:50051"}),
        ("[::1]:7", {}, {"address": "[::1]:7"}),
        ("unix:/run/rowgate.sock", {"token": "t"}, {"address": "unix:/run/rowgate.sock", "token": "t"}),
        ("rowgate://h:7/my%20shop?timeout=5&tag=a", {}, {"database": "my shop", "timeout": 5.0, "tag": "a", "secure": False}),
        ("rowgates://:se%20cret@h/shop", {}, {"address": "h:50051", "token": "se cret", "secure": True}),
        ("https://h", {}, {"secure": True}),
        ("rowgate://h/shop", {"database": "other"}, {"database": "other"}),
        ("h", {"timeout": None}, {"timeout": None}),
    ],
)
def test_addresses_and_urls(address: str, options: Dict[str, Any], wanted: Dict[str, Any]) -> None:
    target = resolve(address, **options)
    assert {name: getattr(target, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("address", "options", "why"),
    [
        ("", {}, "the address is empty"),
        ("mysql://h/shop", {}, "the scheme 'mysql'"),
        ("rowgate://h/shop?pool=5", {}, "the option 'pool'"),
        ("db.internal", {"token": "t"}, "a token is sent over TLS only"),
        ("rowgate://h", {"ca": b"x"}, "is for TLS"),
        ("h", {"certificate": b"x"}, "needs its private_key"),
        ("h", {"timeout": -1}, "must be positive"),
        ("h", {"token": ""}, "the token is empty"),
    ],
)
def test_what_cannot_be_meant_is_refused(address: str, options: Dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        resolve(address, **options)


def test_an_option_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="no option 'databse'"):
        rowgate.connect("h", databse="shop")  # type: ignore[call-arg]


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server over TLS that knows its callers: the folder with ca.pem, the address and a token."""
    if "ROWGATE_BIN" not in os.environ or shutil.which("openssl") is None:
        pytest.skip("ROWGATE_BIN names no server, or there is no openssl")
    folder = tmp_path_factory.mktemp("tls")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    _openssl(folder, "req", "-x509", *key, "-days", "1", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    _openssl(folder, "req", "-new", *key, "-subj", "/CN=server", "-keyout", "server.key", "-out", "server.csr")
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1", "-extfile", "names"]
    _openssl(folder, "x509", "-req", "-in", "server.csr", *signing, "-out", "server.pem")
    access = f'[access]\ntokens = "{folder}/tokens"\n[callers.tests]\ndatabases = ["main"]\nrpcs = ["Query"]\nread_only = false\n'
    configuration = folder / "rowgate.toml"
    tls = f'[grpc.tls]\ncert = "{folder}/server.pem"\nkey = "{folder}/server.key"\n'
    configuration.write_text(f'{tls}{access}[databases.main]\nurl = "sqlite:tls.db"\n')
    command = [os.environ["ROWGATE_BIN"], "token", "new", "tests", "--config", str(configuration)]
    token = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout.strip()
    server = Server("sqlite:tls.db", tls + access, {"ca": folder / "ca.pem", "token": token})
    yield folder, server.address, token
    server.end()


def test_a_token_over_tls_is_let_in(secured: Any) -> None:
    folder, address, token = secured
    asked = []

    def ask() -> str:
        asked.append(1)
        return str(token)

    for options in (
        {"ca": folder / "ca.pem", "token": token},
        {"ca": (folder / "ca.pem").read_bytes(), "token": ask},
        {"ca": (folder / "ca.pem").read_text(), "metadata": {"Authorization": f"Bearer {token}"}},
    ):
        with rowgate.connect(address, **options) as db:
            assert db.query("select 1 as one").scalar() == 1
    assert asked == [1]
    with rowgate.connect(f"rowgates://:{token}@{address}/main?ca={folder}/ca.pem") as db:
        assert db.query("select 1 as one").scalar() == 1
        with pytest.raises(rowgate.AccessDenied) as raised:
            db.batch(["select 1"])
        assert raised.value.outcome == "NOT_APPLIED"


def test_others_are_not(secured: Any) -> None:
    folder, address, token = secured
    with rowgate.connect(address, ca=folder / "ca.pem", token="rg_x") as db, pytest.raises(rowgate.Unauthenticated):
        db.query("select 1")
    with rowgate.connect(address, ca=folder / "ca.pem") as db, pytest.raises(rowgate.Unauthenticated):
        db.query("select 1")
    for wrong in ({"token": token}, {"tls": True, "token": token}):
        with rowgate.connect(address, timeout=5, **wrong) as db, pytest.raises(rowgate.TransportError):
            db.query("select 1")
