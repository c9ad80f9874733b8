"""Makes of an image what a container runtime starts: read-only, without capabilities, as the image's user.

Usage: bundle.py INSPECTED ROOT BUNDLE [NAME=VALUE]... [SOURCE:TARGET]...

INSPECTED is what `buildah inspect --type image` prints, ROOT where the image is mounted, BUNDLE a directory
that `runc spec` has filled. Variables and mounts are added. The command of the image's health check is
written to BUNDLE/health, a word a line. Fails when the image is not what it should be.
"""

import json
import sys
from pathlib import Path

INSPECTED, ROOT, BUNDLE = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
LABELS = ("title", "description", "licenses", "version", "revision")
# What bases set, and the stand-ins.
KNOWN_VARIABLES = {"PATH", "SSL_CERT_FILE"}


def expect(holds, problem):
    if not holds:
        raise SystemExit(f"FAIL {problem}")


def check(config):
    """An unprivileged user by number, a health check without a shell, labels, nothing in the environment."""
    numbers = config["User"].split(":")
    expect(all(number.isdigit() and int(number) > 0 for number in numbers), f"the user is {config['User']}")
    labels = config["Labels"]
    for name in LABELS:
        value = labels.get(f"org.opencontainers.image.{name}", "")
        expect(value not in ("", "unknown"), f"the label {name} is {value!r}")
    variables = {variable.split("=")[0] for variable in config.get("Env") or []}
    expect(variables <= KNOWN_VARIABLES, f"the environment has {variables - KNOWN_VARIABLES}")
    expect("--insecure" in config["Cmd"], "--insecure is not said in the command")
    test = config["Healthcheck"]["Test"]
    expect(test[0] == "CMD" and test[-1] == "health", f"the health check is {test}")


def main():
    config = json.loads(INSPECTED.read_text())["Docker"]["config"]
    check(config)
    variables = [each for each in sys.argv[4:] if "=" in each.split(":")[0]]
    binds = [each.split(":") for each in sys.argv[4:] if each not in variables]
    spec = json.loads((BUNDLE / "config.json").read_text())
    user, group = map(int, config["User"].split(":"))
    spec["root"] = {"path": ROOT, "readonly": True}
    spec["process"] |= {
        "terminal": False,
        "user": {"uid": user, "gid": group},
        "args": config["Entrypoint"] + config["Cmd"],
        "env": (config.get("Env") or []) + variables,
        "cwd": config["WorkingDir"],
        "capabilities": {},
        "noNewPrivileges": True,
    }
    # Limits are the machine's: not everywhere may root set them.
    del spec["process"]["rlimits"]
    for source, target in binds:
        options = ["rbind", "nosuid", "nodev"]
        spec["mounts"].append({"destination": target, "type": "bind", "source": source, "options": options})
    (BUNDLE / "config.json").write_text(json.dumps(spec))
    (BUNDLE / "health").write_text("".join(f"{word}\n" for word in config["Healthcheck"]["Test"][1:]))
    print(f"ok   runs {' '.join(spec['process']['args'])}, as {config['User']}")


main()
