"""The conformance list for clients, by both clients on every backend."""

from typing import Any, List

import conformance_runner as runner
import pytest
from servers import address_of

NAMES = {"sqlite": "sqlite", "postgres": "postgres", "mysql": "mariadb"}


def _cases() -> List[Any]:
    found = []
    for backend, name in NAMES.items():
        for client in ("threads", "aio"):
            for case_name, case in runner.load(name):
                found.append(pytest.param(backend, client, case, id=f"{backend}-{client}-{case_name}"))
    return found


@pytest.mark.parametrize(("backend", "client", "case"), _cases())
def test_the_case_holds(backend: str, client: str, case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    address = address_of(backend)
    reason = runner.skip_reason(case, NAMES[backend])
    if reason is not None:
        pytest.skip(reason)
    monkeypatch.setenv("ROWGATE_CLIENT", client)
    db = runner.connect(address.partition("/")[0])
    try:
        runner.Run(db, case).run()
    finally:
        db.close()


def test_the_list_is_there() -> None:
    assert len(list(runner.load("sqlite"))) > 100
