"""The real server, started by tests, and the addresses of those that all tests share."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest

# Programs that the tests start are forked off while calls run, and need none of grpc's help for a fork.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

import rowgate  # noqa: E402

BACKENDS = ("sqlite", "postgres", "mysql")


class Server:
    """A server of our own: it ends with the tests."""

    def __init__(self, url: str, more: str = "", options: Optional[Dict[str, Any]] = None) -> None:
        self.options = options or {}
        self.folder = Path(tempfile.mkdtemp(prefix="rowgate-python-"))
        self.port, ops = free_ports(2)
        self.address = f"127.0.0.1:{self.port}"
        (self.folder / "rowgate.toml").write_text(
            f'[grpc]\nlisten = "{self.address}"\n[ops]\nlisten = "127.0.0.1:{ops}"\n'
            f'[idempotency]\ncreate_table = true\n[databases.main]\nurl = "{url}"\n{more}'
        )
        self.start()

    def start(self) -> None:
        """Starts it, again after `kill`."""
        with open(self.folder / "log", "ab") as log:
            command = [os.environ["ROWGATE_BIN"], "serve"]
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        with rowgate.connect(self.address, wait_for_ready=True, **self.options) as db:
            while not self._is_ready(db):
                assert self.process.poll() is None and time.monotonic() < deadline, self.log()
                time.sleep(0.02)

    @staticmethod
    def _is_ready(db: rowgate.Connection) -> bool:
        try:
            return len(db.query("select 1", timeout=20)) == 1
        except rowgate.Error:
            return False

    def log(self) -> str:
        """What it has logged."""
        return (self.folder / "log").read_text()

    def kill(self) -> None:
        """Ends it at once, as a crash does."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Ends it and removes its files."""
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.folder)


def free_ports(count: int) -> List[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def address_of(backend: str) -> str:
    """The address of a backend's server; skips the test if there is none."""
    found = os.environ.get(f"ROWGATE_TEST_{backend.upper()}")
    if not found:
        pytest.skip(f"no server over {backend}: see tests/conftest.py")
    return found
