"""Checks what `docker compose config --format json` prints: that what is named there is there, whichever database it has.

Usage: compose.py PROJECT.json
"""

import json
import re
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import yaml

PROJECT = json.loads(Path(sys.argv[1]).read_text())
SERVICES = PROJECT["services"]
PROBLEMS = []


def expect(holds, problem):
    if not holds:
        PROBLEMS.append(problem)


def mounted(service, target):
    """The file that a service sees at this path."""
    for volume in SERVICES[service]["volumes"]:
        if volume["type"] == "bind" and Path(target).is_relative_to(volume["target"]):
            return Path(volume["source"]) / Path(target).relative_to(volume["target"])
    raise SystemExit(f"FAIL {service}: nothing is mounted at {target}")


def argument(service, flag):
    return next(word.removeprefix(f"{flag}=") for word in SERVICES[service]["command"] if word.startswith(flag))


def each_service():
    """Files exist, images have a version, ports are this machine's, who is waited for can be healthy."""
    for name, service in SERVICES.items():
        tag = service["image"].rpartition(":")[2]
        expect("/" not in tag and tag != "latest", f"{name}: the image {service['image']} has no version")
        for volume in service.get("volumes", []):
            found = volume["type"] != "bind" or Path(volume["source"]).exists()
            expect(found, f"{name}: there is no {volume['source']}")
        for port in service.get("ports", []):
            expect(port.get("host_ip") == "127.0.0.1", f"{name}: port {port['target']} is not on loopback")
        for other, wanted in service.get("depends_on", {}).items():
            waits = wanted["condition"] == "service_healthy"
            expect(not waits or "healthcheck" in SERVICES[other], f"{name} waits for {other}, which has no health check")
    for secret in PROJECT["secrets"].values():
        expect(Path(secret["file"]).exists(), f"there is no {secret['file']}")


def rowgate():
    """It is given the time that it takes, reaches the database beside it, and sends to the collector."""
    service = SERVICES["rowgate"]
    config = tomllib.loads(mounted("rowgate", argument("rowgate", "--config")).read_text())
    grace, allowed = (float(text.rstrip("s")) for text in (config["shutdown"]["grace"], service["stop_grace_period"]))
    expect(grace < allowed, f"rowgate ends within {grace} s, and is killed after {allowed} s")
    url = service["environment"].get("ROWGATE__DATABASES__MAIN__URL", config["databases"]["main"]["url"])
    host = re.search("@([^/:?]+)", url)[1]
    expect(host in SERVICES and host in service["depends_on"], f"rowgate waits for no {host}")
    published = {port["target"] for port in service["ports"]}
    listened = {int(config[section]["listen"].rsplit(":", 1)[1]) for section in ("grpc", "ops")}
    expect(published == listened, f"rowgate listens to {listened}, published are {published}")
    for hardened in (service.get("read_only"), service.get("cap_drop") == ["ALL"]):
        expect(hardened, "rowgate can write its root, or has capabilities")


def callers():
    """Who calls has a token and is served over TLS, with files that are made before the server starts."""
    service = SERVICES["rowgate"]
    config = tomllib.loads(mounted("rowgate", argument("rowgate", "--config")).read_text())
    expect("--insecure" not in service["command"], "rowgate serves whoever comes")
    expect(config["callers"], "rowgate knows no callers")
    made = service["depends_on"].get("certificates", {}).get("condition")
    expect(made == "service_completed_successfully", "rowgate does not wait for its certificate")
    files = [*config["grpc"]["tls"].values(), config["access"]["tokens"], service["environment"]["ROWGATE_CA"]]
    for name, is_read_only in (("rowgate", True), ("certificates", False), ("token", False)):
        volumes = [one for one in SERVICES[name]["volumes"] if one["type"] == "volume"]
        expect([one["source"] for one in volumes] == ["identity"], f"{name}: the files of the identity are not its volume")
        expect(volumes[0].get("read_only", False) == is_read_only, f"{name}: read_only is not {is_read_only}")
        for file in files:
            expect(Path(file).is_relative_to(volumes[0]["target"]), f"{name}: {file} is not in {volumes[0]['target']}")
    asked = urlsplit(service["environment"]["ROWGATE_ADDRESS"])
    expect(asked.scheme == "https", "the health check does not speak TLS")
    told = mounted("token", "/var/lib/rowgate/rowgate.toml")
    expect(told == mounted("rowgate", argument("rowgate", "--config")), "tokens are made for another configuration")


def telemetry():
    """The collector's pipelines are whole, and the addresses that others use are right."""
    config = yaml.safe_load(mounted("collector", argument("collector", "--config")).read_text())
    for name, pipeline in config["service"]["pipelines"].items():
        for kind, parts in pipeline.items():
            missing = set(parts) - set(config[kind])
            expect(not missing, f"the collector's pipeline {name} has {kind} that are not there: {missing}")
    endpoint = urlsplit(SERVICES["rowgate"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"])
    received = config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]
    expect(endpoint.hostname == "collector", f"traces go to {endpoint.hostname}")
    expect(received.endswith(f":{endpoint.port}"), f"the collector receives at {received}")
    prometheus = yaml.safe_load(mounted("prometheus", argument("prometheus", "--config.file")).read_text())
    for job in prometheus["scrape_configs"]:
        for target in (target for each in job["static_configs"] for target in each["targets"]):
            name, _, port = target.partition(":")
            ports = {str(port["target"]) for port in SERVICES.get(name, {}).get("ports", [])}
            expect(port in ports, f"Prometheus scrapes {target}")


each_service()
rowgate()
callers()
telemetry()
for problem in PROBLEMS:
    print(f"FAIL {problem}")
print("" if PROBLEMS else f"ok   {len(SERVICES)} services: {', '.join(SERVICES)}")
sys.exit(bool(PROBLEMS))
