"""Checks rendered Kubernetes manifests: strict validation, references, Pod Security "restricted".

Usage: manifests.py DIRECTORY...   each with rendered.yaml; writes rowgate.toml beside it

Validation is by the schemas of every version of Kubernetes in VERSIONS that kubernetes-validate has.
"""

import re
import sys
import tomllib
from pathlib import Path

import kubernetes_validate
import yaml
from kubernetes_validate.utils import all_versions, major_minor

VERSIONS = [f"1.{minor}" for minor in range(30, 37)]
# Kinds that a cluster may not have, and which Kubernetes has no schema of.
CUSTOM = {"ServiceMonitor"}
# Made outside of what is rendered.
EXTERNAL_SECRETS = {"rowgate-admin", "rowgate-databases", "rowgate-tls", "rowgate-tokens"}
NAME = "app.kubernetes.io/name"
UNITS = {"s": 1, "m": 60}


class Manifest:
    """What one directory renders to."""

    def __init__(self, directory):
        self.directory = Path(directory)
        text = (self.directory / "rendered.yaml").read_text()
        self.objects = [each for each in yaml.safe_load_all(text) if each]
        self.problems = []

    def expect(self, holds, problem):
        if not holds:
            self.problems.append(problem)

    def of(self, kind):
        return [each for each in self.objects if each["kind"] == kind]

    def named(self, kind, name):
        return next((each for each in self.of(kind) if each["metadata"]["name"] == name), None)

    def rowgate(self):
        return self.named("Deployment", "rowgate")["spec"]["template"]["spec"]


def validate(manifest, versions):
    """Every object against every version, unknown fields refused."""
    for each in manifest.objects:
        if each["kind"] in CUSTOM:
            continue
        for version in versions:
            try:
                kubernetes_validate.validate(each, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                path = ".".join(map(str, error.path))
                manifest.expect(False, f"{version}: {label(each)}: {path}: {error.message}")
            except kubernetes_validate.SchemaNotFoundError:
                manifest.expect(False, f"{version} knows no {each['apiVersion']} {each['kind']}")


def label(each):
    return f"{each['kind']} {each['metadata']['name']}"


def pod_security(manifest):
    """The profile "restricted" of the Pod Security Standards, as far as a pod of ours has the fields."""
    for each in manifest.of("Deployment") + manifest.of("Job"):
        pod, name = each["spec"]["template"]["spec"], label(each)
        context = pod.get("securityContext", {})
        for field in ("hostNetwork", "hostPID", "hostIPC"):
            manifest.expect(not pod.get(field), f"{name}: {field} is set")
        allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"}
        for volume in pod.get("volumes", []):
            kinds = set(volume) - {"name"}
            manifest.expect(kinds <= allowed | {"projected", "secret"}, f"{name}: volume {volume}")
        for container in pod.get("initContainers", []) + pod["containers"]:
            own = context | container.get("securityContext", {})
            for field, wanted in {
                "runAsNonRoot": True,
                "allowPrivilegeEscalation": False,
                "seccompProfile": {"type": "RuntimeDefault"},
                "capabilities": {"drop": ["ALL"]},
            }.items():
                manifest.expect(own.get(field) == wanted, f"{name}: {field} is {own.get(field)}")
            manifest.expect(own.get("runAsUser", 0) > 0, f"{name}: runAsUser is no number above 0")
            manifest.expect(not own.get("privileged"), f"{name}: privileged is set")
            ports = container.get("ports", [])
            manifest.expect(not any("hostPort" in port for port in ports), f"{name}: a host port")
    container = manifest.rowgate()["containers"][0]
    read_only = container["securityContext"].get("readOnlyRootFilesystem")
    manifest.expect(read_only, "Deployment rowgate: the root file system can be written")


def references(manifest):
    """What is named is there."""
    pod = manifest.rowgate()
    jobs = [each["spec"]["template"]["spec"] for each in manifest.of("Job")]
    for volume in [volume for each in [pod, *jobs] for volume in each["volumes"]]:
        if "configMap" in volume:
            name = volume["configMap"]["name"]
            manifest.expect(manifest.named("ConfigMap", name), f"there is no ConfigMap {name}")
        if "secret" in volume:
            name = volume["secret"]["secretName"]
            known = manifest.named("Secret", name) or name in EXTERNAL_SECRETS
            manifest.expect(known, f"there is no Secret {name}")
    account = pod["serviceAccountName"]
    manifest.expect(manifest.named("ServiceAccount", account), f"there is no ServiceAccount {account}")
    for scaler in manifest.of("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        found = manifest.named(target["kind"], target["name"])
        manifest.expect(found, f"{label(scaler)} scales nothing")
        manifest.expect(found and "replicas" not in found["spec"], f"{label(scaler)}: replicas are set, too")
    deployments = manifest.of("Deployment")
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in deployments]
    selectors = [(each, each["spec"]["selector"]) for each in manifest.of("Service")]
    selectors += [
        (each, each["spec"]["selector"]["matchLabels"])
        for each in deployments + manifest.of("PodDisruptionBudget")
    ]
    policies = manifest.of("NetworkPolicy")
    selectors += [(each, each["spec"]["podSelector"]["matchLabels"]) for each in policies]
    for each, selector in selectors:
        hit = [pod for pod in labels if selector.items() <= pod.items()]
        manifest.expect(len(hit) == 1, f"{label(each)} selects {len(hit)} Deployments")


def ports(manifest):
    """Services, the policy and probes lead to ports that the container has."""
    container = manifest.rowgate()["containers"][0]
    names = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        port = container[probe]["grpc"]["port"]
        # Probes speak no TLS: they ask the listener that has health alone, where there is one.
        manifest.expect(port == names.get("health", names["grpc"]), f"{probe} asks port {port}")
    ours = [each for each in manifest.of("Service") if each["spec"]["selector"].get(NAME) == "rowgate"]
    for service in ours:
        for port in service["spec"]["ports"]:
            known = names.get(port["targetPort"]) == port["port"]
            manifest.expect(known, f"{label(service)}: {port['targetPort']} is no port of the container")
            if port["name"] == "grpc":
                spoken = port.get("appProtocol")
                wanted = "kubernetes.io/h2c" if "--insecure" in container["args"] else "https"
                manifest.expect(spoken == wanted, f"{label(service)}: appProtocol {spoken}")
    headless = [each for each in ours if each["spec"].get("clusterIP") == "None"]
    manifest.expect(len(headless) == 1 and len(ours) == 2, "not one headless and one ordinary Service")
    policy = manifest.named("NetworkPolicy", "rowgate")["spec"]["ingress"]
    opened = {port["port"] for rule in policy for port in rule["ports"]}
    # Kubelet is on the node, which a NetworkPolicy does not keep out.
    offered = {port for name, port in names.items() if name != "health"}
    manifest.expect(opened == offered, f"the NetworkPolicy opens {opened}")
    manifest.expect(all(rule.get("from") for rule in policy), "the NetworkPolicy lets everybody in")
    for monitor in manifest.of("ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        found = [each for each in ours if wanted <= each["metadata"]["labels"].items()]
        for endpoint in monitor["spec"]["endpoints"]:
            having = [
                each for each in found if endpoint["port"] in [port["name"] for port in each["spec"]["ports"]]
            ]
            manifest.expect(len(having) == 1, f"{label(monitor)} scrapes each pod {len(having)} times")


def migrations(manifest):
    """The Job of migrations runs the same program as the servers, once, with files whose names are in the order that they run in."""
    for job in manifest.of("Job"):
        container = job["spec"]["template"]["spec"]["containers"][0]
        wanted = manifest.rowgate()["containers"][0]["image"]
        manifest.expect(container["image"] == wanted, f"{label(job)}: another image, {container['image']}")
        manifest.expect(container["args"][:2] == ["migrate", "up"], f"{label(job)} does not migrate")
        manifest.expect(job["spec"]["backoffLimit"] == 0, f"{label(job)} is repeated when it fails")
        for volume in job["spec"]["template"]["spec"]["volumes"]:
            files = manifest.named("ConfigMap", volume.get("configMap", {}).get("name"))
            for name in files["data"] if files else []:
                manifest.expect(re.fullmatch(r"V[0-9]+__[A-Za-z0-9_-]+\.sql", name), f"{name} is no migration")


def seconds(text):
    return float(text[:-1]) * UNITS[text[-1]]


def configuration(manifest):
    """The pod is given the time that its own configuration takes; returns that configuration."""
    pod = manifest.rowgate()
    volume = next(each for each in pod["volumes"] if "configMap" in each)
    text = manifest.named("ConfigMap", volume["configMap"]["name"])["data"]["rowgate.toml"]
    config, container = tomllib.loads(text), pod["containers"][0]
    names = {port["name"]: port["containerPort"] for port in container["ports"]}
    for section in ("grpc", "ops", *(["health"] if "health" in names else [])):
        port = int(config[section]["listen"].rsplit(":", 1)[1])
        manifest.expect(port == names[section], f"{section}.listen is no port of the container")
    shutdown, allowed = config["shutdown"], pod["terminationGracePeriodSeconds"]
    grace = seconds(shutdown["grace"])
    manifest.expect(grace < allowed, f"shutdown.grace is {grace} s, the pod is killed after {allowed} s")
    # Until the endpoints are told, the pod has to be found unready; then calls need some time to end.
    probe = container["readinessProbe"]
    manifest.expect(seconds(shutdown["delay"]) < grace / 2, "shutdown.delay leaves too little of the grace")
    manifest.expect(probe["timeoutSeconds"] <= probe["periodSeconds"], "readiness probes overlap")
    manifest.expect("lifecycle" not in container, "a preStop beside shutdown.delay")
    return text


def main():
    versions = [version for version in VERSIONS if version in set(map(major_minor, all_versions()))]
    left_out = [version for version in VERSIONS if version not in versions]
    failed = False
    for directory in sys.argv[1:]:
        manifest = Manifest(directory)
        validate(manifest, versions)
        for check in (pod_security, references, ports, migrations):
            check(manifest)
        (manifest.directory / "rowgate.toml").write_text(configuration(manifest))
        failed |= bool(manifest.problems)
        verdict = "FAIL" if manifest.problems else "ok  "
        print(f"{verdict} {manifest.directory.name}: {len(manifest.objects)} objects")
        for problem in manifest.problems:
            print(f"     {problem}")
    print(f"     strictly valid for Kubernetes {', '.join(versions)}" if not failed else "     not valid")
    if left_out:
        print(f"     kubernetes-validate has no schemas for {', '.join(left_out)}")
    sys.exit(failed)


main()
