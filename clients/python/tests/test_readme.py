"""The README's program, run on every backend as it stands there: each block's output is the one that is shown."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCK = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)


def test_the_readme_does_what_it_says(address: str) -> None:
    blocks = BLOCK.findall(README.read_text())
    assert len(blocks) >= 8
    program = "\n".join(code for code, _ in blocks).replace("127.0.0.1:50051", address.rpartition("/")[0])
    program = program.replace("transfer-4711", "transfer-${run}").replace("${run}", address.rpartition(":")[2] + str(id(blocks)))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert [line.rstrip() for line in done.stdout.splitlines() if line] == [
        line.rstrip() for _, shown in blocks for line in shown.splitlines() if line
    ]
