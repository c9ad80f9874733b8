"""Compares two runs of SQLAlchemy's suite: what the usual driver passes and Rowgate does not must be what is written down.

    compare.py DATABASE USUAL.xml ROWGATE.xml

The files are those of pytest's --junitxml. DATABASE is postgresql or sqlite; the list is NOT_PASSED in suite/requirements.py.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "suite"))


def results(file: str) -> dict[str, str]:
    """The result of each test: passed, skipped or failed. Names are without the database and its driver."""
    found = {}
    for case in ElementTree.parse(file).iter("testcase"):
        name = re.sub(r"_(?:postgresql|sqlite|rowgate)\b.*$", "", case.get("classname", "").rpartition(".")[2])
        kinds = {child.tag for child in case}
        result = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        found[f"{name}.{case.get('name')}"] = result
    return found


def main(database: str, usual_file: str, our_file: str) -> int:
    """Prints the counts and every difference that is not written down; its number is the status."""
    from requirements import NOT_PASSED

    usual, ours = results(usual_file), results(our_file)
    for name, counts in (("usual", Counter(usual.values())), ("rowgate", Counter(ours.values()))):
        print(f"{name:8} {', '.join(f'{count} {result}' for result, count in sorted(counts.items()))}")
    missing = {name for name, result in usual.items() if result == "passed" and ours.get(name) != "passed"}
    listed = {name for names in NOT_PASSED[database].values() for name in names}
    for name in sorted(missing - listed):
        print(f"not in NOT_PASSED: {name} ({ours.get(name, 'not run')})")
    for name in sorted(listed - missing):
        print(f"in NOT_PASSED, although it passes or is not run: {name}")
    print(f"{len(missing)} pass over the usual driver alone, {len(set(ours) - set(usual))} are run over Rowgate alone")
    return min(len(missing ^ listed), 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
