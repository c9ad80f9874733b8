"""Does to the real binary what kubelet would do with the probes of a rendered manifest.

Usage: probes.py DIRECTORY BINARY POSTGRES_HOST:PORT

DIRECTORY has rendered.yaml and the rowgate.toml of its ConfigMap. The server runs with that configuration;
only its addresses, its secrets and its databases are this machine's. The database goes and
comes as a relay in front of PostgreSQL does.
"""

import asyncio
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from pathlib import Path

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

DIRECTORY, BINARY, POSTGRES = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
SERVING = health_pb2.HealthCheckResponse.SERVING


class Relay:
    """A database that can become unreachable: its port refuses connections, those that are open end."""

    def __init__(self, target):
        self.host, self.target_port = target.rsplit(":", 1)
        self.port = free_port()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.server, self.writers = None, set()

    def come(self):
        self.run(self._come())

    def go(self):
        self.run(self._go())

    def run(self, coroutine):
        asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    async def _come(self):
        self.server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)

    async def _go(self):
        self.server.close()
        for writer in self.writers:
            writer.close()

    async def _relay(self, reader, writer):
        theirs, ours = await asyncio.open_connection(self.host, self.target_port)
        self.writers |= {writer, ours}
        await asyncio.gather(self._copy(reader, ours), self._copy(theirs, writer))
        self.writers -= {writer, ours}

    async def _copy(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()


class Probe:
    """One probe: a connection and a Check for each time, as kubelet makes them."""

    def __init__(self, spec, address):
        self.service, self.address = spec["grpc"].get("service", ""), address
        self.period, self.timeout = spec.get("periodSeconds", 10), spec.get("timeoutSeconds", 1)
        self.failures = spec.get("failureThreshold", 3)

    def ask(self):
        request = health_pb2.HealthCheckRequest(service=self.service)
        with grpc.insecure_channel(self.address) as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=self.timeout)
            except grpc.RpcError:
                return False
        return answer.status == SERVING


class Kubelet:
    """Keeps a pod's conditions as its probes say: started, ready, how often it would have been restarted."""

    def __init__(self, container, address):
        self.startup, self.liveness, self.readiness = (
            Probe(container[f"{name}Probe"], address) for name in ("startup", "liveness", "readiness")
        )
        self.started, self.ready, self.terminating = False, False, False
        self.restarts, self.changed, self.gone = 0, time.monotonic(), threading.Event()
        threading.Thread(target=self._start, daemon=True).start()

    def _start(self):
        failed = 0
        while not self.startup.ask():
            failed += 1
            self.restarts += failed >= self.startup.failures
            if self.gone.wait(self.startup.period):
                return
        self.started = True
        threading.Thread(target=self._watch, args=(self.liveness, self._live), daemon=True).start()
        self._watch(self.readiness, self._ready)

    def _watch(self, probe, tell):
        failed = 0
        while not self.gone.is_set():
            failed = 0 if probe.ask() else failed + 1
            tell(failed == 0, failed >= probe.failures)
            self.gone.wait(probe.period)

    def _live(self, _passed, over):
        # Nothing is restarted that is about to end.
        self.restarts += over and not self.terminating

    def _ready(self, passed, over):
        was = self.ready
        self.ready = passed or (was and not over)
        if self.ready != was:
            self.changed = time.monotonic()


class Pod:
    """The server, as the manifest starts it."""

    def __init__(self, relay):
        objects = [each for each in yaml.safe_load_all((DIRECTORY / "rendered.yaml").read_text()) if each]
        deployment = next(
            each for each in objects if each["kind"] == "Deployment" and each["metadata"]["name"] == "rowgate"
        )
        spec = deployment["spec"]["template"]["spec"]
        self.container, self.allowed = spec["containers"][0], spec["terminationGracePeriodSeconds"]
        self.address = f"127.0.0.1:{free_port()}"
        self.health, self.flags = self.address, []
        self.work = Path(tempfile.mkdtemp(dir=DIRECTORY))
        arguments = [self._here(argument, relay) for argument in self.container["args"]]
        self.log = open(self.work / "log", "w")
        self.process = subprocess.Popen(
            [BINARY, *arguments], cwd=self.work, stdout=self.log, stderr=self.log, env=self.environment
        )

    def _here(self, argument, relay):
        """The configuration file of the manifest, with this machine's addresses over it."""
        flag, _, path = argument.partition("=")
        if flag != "--config":
            return argument
        text = (DIRECTORY / Path(path).name).read_text()
        text = text.replace("/run/secrets/", f"{self.work}/")
        for each in ("rowgate", "tls", "tokens"):
            (self.work / each).mkdir()
        (self.work / "rowgate" / "password").write_text("secret")
        text = "".join(line for line in text.splitlines(True) if not line.startswith("tls."))
        self.config = tomllib.loads(text)
        url = rf"\g<1>127.0.0.1:{relay.port}/\g<2>?sslmode=disable"
        text = re.sub(r'(url = "postgres://[^@"]*@)[^/"]*/([^?"]*)[^"]*', url, text)
        (self.work / "rowgate.toml").write_text(text)
        self.environment = os.environ | {
            "ROWGATE__GRPC__LISTEN": self.address,
            "ROWGATE__OPS__LISTEN": "127.0.0.1:0",
        }
        if "tls" in self.config["grpc"]:
            self._protect()
        return f"--config={self.work / 'rowgate.toml'}"

    def _protect(self):
        """A certificate, a token, and the port for probes, which speak no TLS."""
        self.health = f"127.0.0.1:{free_port()}"
        self.environment["ROWGATE__HEALTH__LISTEN"] = self.health
        certificate = self.work / "tls" / "tls.crt"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
            + ["-subj", "/CN=rowgate", "-addext", "subjectAltName=IP:127.0.0.1"]
            + ["-addext", "basicConstraints=critical,CA:FALSE"]
            + ["-keyout", self.work / "tls" / "tls.key", "-out", certificate],
            check=True,
            capture_output=True,
        )
        self.flags = ["--ca", str(certificate)]
        for caller in self.config["callers"]:
            command = [BINARY, "token", "new", caller, "--config", self.work / "rowgate.toml"]
            token = subprocess.run(command, check=True, capture_output=True, text=True, env=self.environment).stdout
            (self.work / f"{caller}.token").write_text(token)

    def command(self, caller, *arguments):
        """A command of the client, by a caller if there are some."""
        scheme = "https" if self.flags else "http"
        token = ["--token-file", str(self.work / f"{caller}.token")] if self.flags else []
        return [BINARY, *arguments, "--address", f"{scheme}://{self.address}", *self.flags, *token]

    def query(self, sql):
        command = self.command("shop", "query", sql)
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def answers(self, sql="select 1"):
        return self.query(sql).wait(10) == 0


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def within(limit, what, condition, begin=None):
    """Waits for a condition; says how long it took."""
    begin = begin or time.monotonic()
    while not condition():
        if time.monotonic() - begin > limit:
            raise SystemExit(f"FAIL {what}: not within {limit:g} s")
        time.sleep(0.02)
    print(f"ok   {what}, after {time.monotonic() - begin:.1f} s")


def expect(holds, what):
    if not holds:
        raise SystemExit(f"FAIL {what}")
    print(f"ok   {what}")


def outages(pod, kubelet, relay):
    """The database is unreachable at first, becomes reachable, is unreachable for longer than liveness tolerates, and is reachable again."""
    readiness, liveness = kubelet.readiness, kubelet.liveness
    seen = (readiness.failures + 1) * readiness.period + 2 * readiness.timeout
    within(10, "without a database the pod starts", lambda: kubelet.started)
    expect(liveness.ask() and not readiness.ask(), "without a database it lives and is not ready")
    relay.come()
    within(seen + 5, "the database comes: ready", lambda: kubelet.ready)
    expect(pod.answers(), "a query is answered")
    relay.go()
    # Health has to notice, by its probe at the latest, and kubelet by its own.
    within(5 + 2 + seen, "the database goes: not ready", lambda: not kubelet.ready)
    expect(not pod.answers(), "a query fails")
    patience = (liveness.failures + 1) * liveness.period
    time.sleep(max(0, kubelet.changed + patience - time.monotonic()))
    expect(kubelet.restarts == 0 and liveness.ask(), f"unreachable for {patience} s: it lives, nothing restarts it")
    relay.come()
    within(seen, "the database is back: ready", lambda: kubelet.ready)
    expect(pod.answers(), "a query is answered")


def drain(pod, kubelet):
    """SIGTERM, with a call in progress that outlives shutdown.delay."""
    delay = float(pod.config["shutdown"]["delay"].rstrip("s"))
    readiness = kubelet.readiness
    limit = readiness.failures * (readiness.period + readiness.timeout)
    call = pod.query(f"select pg_sleep({max(delay, limit) + 2})")
    within(5, "a call is in progress", lambda: "pg_sleep" in checkouts(pod))
    begin = time.monotonic()
    kubelet.terminating = True
    pod.process.terminate()
    within(1, "SIGTERM: health says NOT_SERVING", lambda: not kubelet.readiness.ask(), begin)
    expect(pod.answers() and kubelet.liveness.ask(), "new connections are still served, liveness is SERVING")
    within(limit, "kubelet sees it not ready", lambda: not kubelet.ready, begin)
    within(delay + 1, "the listener is closed", lambda: not listens(pod), begin)
    expect(time.monotonic() - begin > delay, f"which was after shutdown.delay, {delay:g} s")
    expect(call.poll() is None, "the call in progress goes on")
    expect(call.wait(10) == 0, "and ends well")
    expect(pod.process.wait(pod.allowed) == 0, "the process ends with status 0")
    took = time.monotonic() - begin
    expect(took < pod.allowed, f"after {took:.1f} s of the {pod.allowed} s that the pod is given")


def checkouts(pod):
    command = pod.command("operator", "pool", "checkouts")
    return subprocess.run(command, capture_output=True, text=True).stdout


def listens(pod):
    host, port = pod.address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except ConnectionRefusedError:
        return False
    return True


def main():
    relay = Relay(POSTGRES)
    pod = Pod(relay)
    kubelet = Kubelet(pod.container, pod.health)
    try:
        outages(pod, kubelet, relay)
        drain(pod, kubelet)
    finally:
        kubelet.gone.set()
        pod.process.kill()


main()
