"""Runs the conformance list for clients (clients/conformance) by this package; its README.md says how.

    ROWGATE_ADDRESS=127.0.0.1:50051 ROWGATE_BACKEND=postgres python tests/conformance_runner.py [PART_OF_A_NAME...]

ROWGATE_CLIENT=aio runs it by `rowgate.aio`; ROWGATE_CONFORMANCE is another folder of the list.
"""

import asyncio
import json
import os
import sys
import time
import uuid
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from awaited import Blocking
from conformance_values import exact_json, is_equal, parameter

import rowgate
from rowgate import aio

CASES = Path(os.environ.get("ROWGATE_CONFORMANCE") or Path(__file__).resolve().parents[2] / "conformance") / "cases"
FEATURES = {"abandon", "cancel", "copy", "describe", "lower_bounds", "records"}
WITHOUT = {"half_close": "a transaction ends by commit, rollback or cancel"}


class Mismatch(Exception):
    """A step that did not do what is expected."""


def connect(address: str, **options: Any) -> Any:
    """A connection for a run; the client's own retries are off."""
    options = {"retries": 0, "json_loads": exact_json, "timeout": 30, **options}
    if os.environ.get("ROWGATE_CLIENT") == "aio":
        loop = asyncio.new_event_loop()
        return Blocking(aio.connect(address, **options), loop)
    return rowgate.connect(address, **options)


def load(backend: str) -> Iterator[Tuple[str, Dict[str, Any]]]:
    """The cases for a backend, with their names."""
    run = uuid.uuid4().hex
    for file in sorted(CASES.glob("*.json")):
        for case in json.loads(file.read_text(), parse_float=str)["cases"]:
            yield f"{file.stem}/{case['name']}", _resolved(case, backend, run)


def _resolved(value: Any, backend: str, run: str) -> Any:
    if isinstance(value, dict):
        if set(value) == {"per_backend"}:
            choice = value["per_backend"]
            return _resolved(choice.get(backend, choice.get("default")), backend, run)
        return {name: _resolved(each, backend, run) for name, each in value.items()}
    if isinstance(value, list):
        return [_resolved(each, backend, run) for each in value]
    return value.replace("${run}", run) if isinstance(value, str) else value


def skip_reason(case: Dict[str, Any], backend: str) -> Optional[str]:
    """The reason for which a case is not run; None if it is."""
    if backend in case.get("not_on", {}):
        return str(case["not_on"][backend])
    lacks = [feature for feature in case.get("requires", []) if feature not in FEATURES]
    if any(feature not in WITHOUT for feature in lacks):
        raise Mismatch(f"the feature {lacks[0]} is not known")
    return WITHOUT[lacks[0]] if lacks else None


class Run:
    """One case."""

    def __init__(self, db: Any, case: Dict[str, Any]) -> None:
        self.db = db
        self.case = case
        self.open: Dict[str, Any] = {}

    def run(self) -> None:
        """Runs the setup and the steps; Mismatch tells what is wrong."""
        try:
            for sql in self.case.get("setup", []):
                self.db.query(sql)
            for number, step in enumerate(self.case["steps"], 1):
                try:
                    self._timed(step)
                except Mismatch as error:
                    raise Mismatch(f"step {number}: {error}") from None
        finally:
            for tx in self.open.values():
                tx.cancel()

    def _timed(self, step: Dict[str, Any]) -> None:
        begun = time.monotonic()
        for _ in range(step.get("times", 1)):
            self._step(step)
        took = (time.monotonic() - begun) * 1000
        if took > step.get("within_ms", took):
            raise Mismatch(f"it took {took:.0f} ms")

    def _step(self, step: Dict[str, Any]) -> None:
        expect = step.get("expect", {})
        wanted = expect.get("error")
        try:
            found = getattr(self, f"do_{step['do']}")(step)
        except (TypeError, ValueError) as error:
            # This client itself refuses what Python knows to be wrong, and sends nothing.
            if wanted is None or wanted["reason"] not in ("INVALID_OPTION", "INVALID_PARAMETER"):
                raise
            return
        except rowgate.Error as error:
            if wanted is None:
                raise Mismatch(f"it failed: {error!r} {error}") from None
            check_error(wanted, error)
            return
        if wanted is not None:
            raise Mismatch(f"it succeeded: {found}")
        if found is not None:
            check(expect, found)

    # The steps. Each returns what is compared, by the names of the expectations.

    def do_query(self, step: Dict[str, Any]) -> Any:
        if "in" in step:
            options = call_options(step, in_transaction=True)
            return of_result(self.open[step["in"]].execute(step["sql"], parameters(step), **options))
        return of_result(self._db(step).execute(step["sql"], parameters(step), **call_options(step)))

    def do_stream(self, step: Dict[str, Any]) -> Any:
        stream = self._db(step).open_stream(step["sql"], parameters(step), **call_options(step))
        if "read" in step:
            rows = iter(stream)
            found = [next(rows) for _ in range(step["read"])]
            stream.close()
            return {"rows": found, "columns": stream.columns}
        return of_stream(stream)

    def do_echo(self, step: Dict[str, Any]) -> None:
        for value in step["values"]:
            result = self.db.query(step["sql"], parameter(value), **call_options(step))
            found = result.scalar()
            if not is_equal(value, found):
                raise Mismatch(f"{json.dumps(value)[:200]} came back as {found!r:.200}")
            if "type" in step and result.columns[0].type.name != step["type"]:
                raise Mismatch(f"the type is {result.columns[0].type.name}")

    def do_batch(self, step: Dict[str, Any]) -> Any:
        statements = [
            rowgate.Statement(each["sql"], *parameters(each), **each.get("expect_rows", {}))
            for each in step["statements"]
            for _ in range(each.get("times", 1))
        ]
        if "in" in step:
            results = self.open[step["in"]].batch(statements, **call_options(step, in_transaction=True))
            return {"results": [of_result(each) for each in results]}
        options = {**transaction_options(step), **call_options(step)}
        if step.get("dry_run"):
            options["dry_run"] = True
        results = self._db(step).batch(statements, **options)
        return {"results": [of_result(each) for each in results], "replayed": results.replayed}

    def do_begin(self, step: Dict[str, Any]) -> None:
        options = transaction_options(step)
        options.update({name: step[name] for name in ("key", "tag", "settings") if name in step})
        db = self.db.using(database=step["database"]) if "database" in step else self.db
        tx = db.transaction(**options)
        tx.begin()
        self.open[step["as"]] = tx

    def do_savepoint(self, step: Dict[str, Any]) -> None:
        self.open[step["in"]].savepoint(step["name"])

    def do_rollback_to(self, step: Dict[str, Any]) -> None:
        self.open[step["in"]].rollback_to(step["name"])

    def do_release(self, step: Dict[str, Any]) -> None:
        self.open[step["in"]].release(step["name"])

    def do_commit(self, step: Dict[str, Any]) -> None:
        self.open.pop(step["in"]).commit()

    def do_rollback(self, step: Dict[str, Any]) -> None:
        self.open.pop(step["in"]).rollback()

    def do_abandon(self, step: Dict[str, Any]) -> None:
        self.open.pop(step["in"]).cancel()

    def do_outcome(self, step: Dict[str, Any]) -> Any:
        return {"state": str(self._db({"options": step}).outcome(step["key"]))}

    def do_describe(self, step: Dict[str, Any]) -> Any:
        found = self.db.describe(step["sql"])
        return {"columns": found.columns, "parameter_types": found.parameters, "read_only": found.read_only}

    def do_copy_in(self, step: Dict[str, Any]) -> Any:
        options = copy_options(step)
        data = step["data"] if "data" in step else [[parameter(each) for each in row] for row in step["rows"]]
        result = self._db(step).copy_in(step["table"], data, **options)
        return {"rows_affected": result.rows_affected, "replayed": result.replayed}

    def do_copy_out(self, step: Dict[str, Any]) -> Any:
        options = copy_options(step)
        if "parameters" in step:
            options["parameters"] = parameters(step)
        stream = self._db(step).copy_out(step.get("table"), sql=step.get("sql"), **options)
        if step.get("format", "rows") == "rows":
            return of_stream(stream)
        data = stream.read().decode()
        return {"data": data, "row_count": stream.summary.row_count}

    def do_cancel(self, step: Dict[str, Any]) -> None:
        async def cancelled() -> None:
            async with aio.connect(self.db.target.address, retries=0) as db:
                try:
                    await asyncio.wait_for(db.query(step["sql"]), step["after_ms"] / 1000)
                except asyncio.TimeoutError:
                    return
                raise Mismatch("the query ended before it was cancelled")

        asyncio.run(cancelled())

    def do_pause(self, step: Dict[str, Any]) -> None:
        if isinstance(self.db, Blocking):
            self.db.sleep(step["ms"] / 1000)
        else:
            time.sleep(step["ms"] / 1000)

    def _db(self, step: Dict[str, Any]) -> Any:
        database = step.get("options", {}).get("database")
        return self.db if database is None else self.db.using(database=database)


def parameters(step: Dict[str, Any]) -> List[Any]:
    """The parameters of a statement."""
    return [parameter(each) for each in step.get("parameters", [])]


def call_options(step: Dict[str, Any], in_transaction: bool = False) -> Dict[str, Any]:
    """The options of a call."""
    given = dict(step.get("options", {}))
    given.pop("database", None)
    options: Dict[str, Any] = {}
    for name in ("deadline_ms", "timeout_ms"):
        if name in given:
            options["timeout"] = given.pop(name) / 1000
    if not in_transaction and "timeout" not in options and step["do"] in ("stream", "copy_in", "copy_out"):
        options["timeout"] = 30
    return {**options, **given}


def transaction_options(step: Dict[str, Any]) -> Dict[str, Any]:
    """The options of a transaction."""
    given = dict(step.get("transaction", {}))
    for name in ("idle_timeout", "max_duration"):
        if f"{name}_ms" in given:
            given[name] = given.pop(f"{name}_ms") / 1000
    return given


def copy_options(step: Dict[str, Any]) -> Dict[str, Any]:
    """The options of a copy."""
    options = call_options(step)
    for name in ("columns", "format", "header", "delimiter"):
        if name in step:
            options[name] = step[name]
    if "null_text" in step:
        options["null"] = step["null_text"]
    return options


def of_result(result: Any) -> Dict[str, Any]:
    """What is compared of a result."""
    return {
        "rows": result.rows,
        "columns": result.columns,
        "rows_affected": result.rows_affected,
        "command": result.command,
        "replayed": result.replayed,
    }


def of_stream(stream: Any) -> Dict[str, Any]:
    """What is compared of a stream that is read to its end."""
    rows = list(stream)
    summary = stream.summary
    if summary.row_count != len(rows):
        raise Mismatch(f"the summary counts {summary.row_count} rows of {len(rows)}")
    found = {"rows": rows, "columns": stream.columns}
    return {**found, "rows_affected": summary.rows_affected, "command": summary.command}


def check(expect: Dict[str, Any], found: Dict[str, Any]) -> None:
    """Compares a step's outcome with what is expected of it."""
    rows = found.get("rows", [])
    for name, wanted in expect.items():
        if name == "rows":
            _check_rows(wanted, rows)
        elif name in ("first_row", "last_row"):
            _check_rows([wanted], rows[:1] if name == "first_row" else rows[-1:])
        elif name == "row_count":
            _check(name, wanted, found.get(name, len(rows)))
        elif name in ("columns", "parameter_types"):
            _check_columns(wanted, found[name])
        elif name == "results":
            _check("results", len(wanted), len(found[name]))
            for each, result in zip(wanted, found[name]):
                check(each, result)
        elif name in found:
            _check(name, wanted, found[name])
        else:
            raise Mismatch(f"nothing is known of {name}")


def _check(name: str, wanted: Any, found: Any) -> None:
    if wanted != found:
        raise Mismatch(f"{name} is {found!r:.300}, not {wanted!r:.300}")


def _check_rows(wanted: Any, rows: Any) -> None:
    _check("the number of rows", len(wanted), len(rows))
    for each, row in zip(wanted, rows):
        if len(each) != len(row) or not all(map(is_equal, each, row)):
            raise Mismatch(f"a row is {tuple(row)!r:.300}, not {each!r:.300}")


def _check_columns(wanted: Any, columns: Any) -> None:
    _check("the number of columns", len(wanted), len(columns))
    for each, column in zip(wanted, columns):
        for name, value in each.items():
            found = getattr(column, name)
            _check(f"{name} of a column", value, found.name if name in ("type", "element_type") else found)


def check_error(wanted: Dict[str, Any], error: rowgate.Error) -> None:
    """Compares an error with the expected one."""
    for name, value in wanted.items():
        if name == "without":
            told = f"{error} {error.message} {error.detail} {error.hint} {error.fields}"
            if value in told:
                raise Mismatch(f"the error says {value!r}: {told}")
            continue
        found: Any = {
            "code": lambda: error.code.name if error.code else None,
            "outcome": lambda: str(error.outcome),
            "retryable": lambda: error.retry_after is not None,
            "fields": lambda: list(error.fields),
        }.get(name, lambda name=name: getattr(error, name))()
        choices = value if isinstance(value, list) and name != "fields" else [value]
        if found not in choices:
            raise Mismatch(f"the error's {name} is {found!r}, not {value!r}: {error!r} {error}")
    known = rowgate.REASONS.get(error.reason)
    if known is not None and not isinstance(error, known):
        raise Mismatch(f"the error is of {type(error)}")


def main(parts: List[str]) -> int:
    """Runs the chosen cases and prints what failed."""
    backend = os.environ["ROWGATE_BACKEND"]
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    db = connect(os.environ["ROWGATE_ADDRESS"])
    for name, case in load(backend):
        if parts and not any(part in name for part in parts):
            continue
        reason = skip_reason(case, backend)
        if reason is not None:
            counts["skipped"] += 1
            print(f"SKIPPED: {name}: {reason}")
            continue
        try:
            Run(db, case).run()
            counts["passed"] += 1
        except Exception as error:  # noqa: BLE001 - it is the case that failed
            counts["failed"] += 1
            print(f"FAILED: {name}: {error if isinstance(error, Mismatch) else repr(error)}", flush=True)
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    return 0 if counts["passed"] and not counts["failed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
