"""Runs the code blocks of pages as a reader would: in order, in a clean clone, against a server that a block started.

documents.py DATABASE CLONE BIN POSTGRES MYSQL PAGE...

DATABASE is `sqlite`, `postgres` or `mysql`: which server serves. CLONE is the directory that the blocks run in, twice, and must
leave as git has it. BIN is the server; POSTGRES and MYSQL are the host:port of a PostgreSQL, and of a MySQL or MariaDB, with the user and the
database that the pages name.

The info string of a block says what is done with it:

  sh                run by bash
  sh server         run until the end of the round; the one with `postgres` or `mysql` only there, the other only with sqlite
  sh postgres       only with PostgreSQL; `sqlite` and `mysql` likewise, and several of them
  sh manual         shown only: it does not end, takes too long, or changes the machine
  python FILE       appended to FILE; a block of bash runs it. js likewise
  toml              a configuration: `rowgate config show` accepts it
  json console sql  shown only
  text              directly after a block that runs: its standard output; `…` stands for anything

A block whose program is not installed is skipped with a message.
"""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

# Programs that a reader may not have; everything else must be there.
OPTIONAL = {"grpcurl", "curl", "python3", "node", "npm"}
GRPC, OPS = "127.0.0.1:50051", "127.0.0.1:9464"
POSTGRES, MYSQL = "localhost:5432", "localhost:3306"
DATABASES = {"sqlite", "postgres", "mysql"}


@dataclass
class Block:
    """A fenced block of a page."""

    place: str
    language: str
    marks: list[str]
    text: str
    output: str | None = None

    def is_for(self, database: str) -> bool:
        """Tells whether the block names the database, or none; a server without a name is SQLite's."""
        named = DATABASES & set(self.marks)
        if "server" in self.marks and not named:
            named = {"sqlite"}
        return not named or database in named


def blocks(page: Path) -> list[Block]:
    """The blocks of a page; a block of text that directly follows another is its output."""
    found: list[Block] = []
    between, current = "", None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = re.match(r"^(\s*)```(.*)$", line)
        if not fence:
            if current is not None:
                current.text += line + "\n"
            else:
                between += line.strip()
        elif current is None:
            words = fence[2].split() or [""]
            current = Block(f"{page.name}:{number}", words[0], words[1:], "")
        else:
            if current.language == "text" and found and not between:
                found[-1].output = current.text
            else:
                found.append(current)
            between, current = "", None
    return found


def matches(expected: str, output: str) -> bool:
    """Tells whether the output is what the page shows; `…` stands for anything."""
    def lines(text: str) -> str:
        return "\n".join(line.rstrip() for line in text.strip().splitlines())

    pattern = ".*?".join(re.escape(part) for part in lines(expected).split("…"))
    return re.fullmatch(pattern, lines(output), re.DOTALL) is not None


def is_free(address: str) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", int(address.rsplit(":", 1)[1])))
            return True
    return False


def free_address() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


class Reader:
    """A reader of pages: a directory, programs, and a server."""

    def __init__(self, database: str, clone: Path, binary: Path, replaced: dict[str, str]):
        self.database, self.clone = database, clone
        self.skipped: list[str] = []
        self.durations: dict[str, float] = {}
        self.server: subprocess.Popen | None = None
        self.replaced = replaced
        programs = Path(tempfile.mkdtemp(prefix="readme-programs-"))
        self.programs = programs
        (programs / "rowgate").symlink_to(binary)
        # `cargo run` runs what is built.
        cargo = programs / "cargo"
        cargo.write_text('#!/bin/sh\nwhile [ $# -gt 0 ] && [ "$1" != -- ]; do shift; done\n[ $# -eq 0 ] || shift\nexec rowgate "$@"\n')
        cargo.chmod(0o755)
        self.environment = dict(os.environ, PATH=f"{programs}:{os.environ['PATH']}", ROWGATE_BIN=str(binary))
        for name in list(self.environment):
            if name.startswith(("PG", "DATABASE_URL", "ROWGATE__")) or name == "ROWGATE_ADDRESS":
                del self.environment[name]
        self.choose_addresses()

    def choose_addresses(self) -> None:
        """The default addresses, or others in their place when something else has them."""
        for address, variable in ((GRPC, "ROWGATE__GRPC__LISTEN"), (OPS, "ROWGATE__OPS__LISTEN")):
            if not is_free(address):
                self.replaced[address] = self.environment[variable] = free_address()
        if GRPC in self.replaced:
            self.environment["ROWGATE_ADDRESS"] = f"http://{self.replaced[GRPC]}"

    def here(self, text: str) -> str:
        for shown, address in self.replaced.items():
            text = text.replace(shown, address)
        return text

    def lacks(self, block: Block) -> str | None:
        commands = re.findall(r"(?:^|[|;&(]\s*)([\w./-]+)", block.text, re.MULTILINE)
        wanted = {"python3" if name.startswith("build/venv/") else name for name in commands} & OPTIONAL
        return next((name for name in sorted(wanted) if not shutil.which(name, path=self.environment["PATH"])), None)

    def follow(self, pages: list[Path]) -> None:
        """One round: all blocks of the pages, in order."""
        every = [block for page in pages for block in blocks(page)]
        servers = [block for block in every if "server" in block.marks]
        wanted = [block for block in servers if block.is_for(self.database)]
        assert len(wanted) == 1, f"one block must start a server on {self.database}: {[b.place for b in wanted]}"
        written: set[str] = set()
        try:
            self.serve(wanted[0])
            for block in every:
                started = time.monotonic()
                self.run(block, written)
                self.durations[block.place] = self.durations.get(block.place, 0) + time.monotonic() - started
        finally:
            self.stop()

    def run(self, block: Block, written: set[str]) -> None:
        if not block.is_for(self.database) or {"server", "manual"} & set(block.marks):
            return
        if block.language in ("python", "js") and block.marks:
            path = self.clone / block.marks[0]
            path.parent.mkdir(exist_ok=True)
            with path.open("a" if block.marks[0] in written else "w") as file:
                file.write(self.here(block.text) + "\n")
            written.add(block.marks[0])
        elif block.language == "toml":
            self.accepts(block)
        elif block.language == "sh":
            if missing := self.lacks(block):
                self.skipped.append(f"{block.place}: {missing} is not installed")
                return
            output = self.shell(block, self.here(block.text))
            if block.output is not None and not matches(self.here(block.output), output):
                raise SystemExit(f"{block.place}: the page shows\n{block.output}\nbut the output is\n{output}")
        elif block.language not in ("text", "json", "console", "sql"):
            raise SystemExit(f"{block.place}: unknown kind of block: {block.language!r} {block.marks}")

    def shell(self, block: Block, text: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], cwd=self.clone, env=self.environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        )
        if done.returncode:
            raise SystemExit(f"{block.place}: exit status {done.returncode}\n{block.text}\n{done.stdout}{done.stderr}")
        return done.stdout

    def accepts(self, block: Block) -> None:
        """Checks a configuration; the secrets that it reads are made."""
        with tempfile.TemporaryDirectory() as directory:
            for secret in set(re.findall(r"\$\{file:([^}]+)\}", block.text)):
                Path(directory, Path(secret).name).write_text("secret\n")
            text = re.sub(r"\$\{file:[^}]*/([^/}]+)\}", rf"${{file:{directory}/\1}}", block.text)
            for key in re.findall(r'key_file = "([\w.]+)"', text):
                Path(directory, key).write_text("ab" * 32 + "\n")
                Path(directory, key).chmod(0o600)
            text = re.sub(r'key_file = "([\w.]+)"', rf'key_file = "{directory}/\1"', text)
            Path(directory, "rowgate.toml").write_text(text)
            self.shell(block, f"rowgate config show --insecure --config {directory}/rowgate.toml")

    def serve(self, block: Block) -> None:
        """Starts the server; what the block exports holds for all blocks."""
        text = self.here(block.text)
        for name, value in re.findall(r"^export (\w+)=(\S+)", text, re.MULTILINE):
            self.environment[name] = value
        self.log = tempfile.TemporaryFile("w+")
        self.server = subprocess.Popen(
            ["bash", "-euc", text], cwd=self.clone, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log, start_new_session=True,
        )
        end = time.monotonic() + 20
        while subprocess.run(["rowgate", "health"], env=self.environment, capture_output=True).returncode:
            if self.server.poll() is not None or time.monotonic() > end:
                self.log.seek(0)
                raise SystemExit(f"{block.place}: the server does not serve\n{self.log.read()}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self.server:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.server.pid, signal.SIGTERM)
            self.server.wait(timeout=30)
            self.server = None
            address = self.replaced.get(GRPC, GRPC)
            while not is_free(address):
                time.sleep(0.05)

    def left_behind(self) -> str:
        """What the blocks left in the clone that git does not ignore."""
        status = subprocess.run(["git", "status", "--porcelain"], cwd=self.clone, capture_output=True, text=True, check=True)
        return status.stdout


def main() -> None:
    database, clone, binary, postgres, mysql, *pages = sys.argv[1:]
    reader = Reader(database, Path(clone), Path(binary), {POSTGRES: postgres, MYSQL: mysql})
    try:
        for number in (1, 2):
            started = time.monotonic()
            reader.follow([Path(clone) / page for page in pages])
            print(f"ok   {database}, round {number}: {time.monotonic() - started:.0f} s")
    finally:
        shutil.rmtree(reader.programs)
    if left := reader.left_behind():
        raise SystemExit(f"the blocks leave files behind:\n{left}")
    for line in sorted(set(reader.skipped)):
        print(f"skipped {line}")
    for place, seconds in sorted(reader.durations.items(), key=lambda item: -item[1])[:5]:
        print(f"     {seconds:5.1f} s  {place}")


if __name__ == "__main__":
    main()
