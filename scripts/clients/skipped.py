"""Of the output of a conformance runner the cases that it skipped though its backend runs them: skipped.py BACKEND."""

import json
import pathlib
import sys

backend = sys.argv[1]
run = {
    f"{file.stem}/{case['name']}"
    for file in pathlib.Path("clients/conformance/cases").glob("*.json")
    for case in json.loads(file.read_text())["cases"]
    if backend not in case.get("not_on", {})
}
for line in sys.stdin:
    if line.startswith("SKIPPED: ") and line.split(": ")[1] in run:
        print(line, end="")
