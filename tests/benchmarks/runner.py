"""Runs every measurement in processes of its own, on a database of its own.

Contenders take turns: each repeat measures all of them, every other one in the reverse
order, so that a host that slows down slows all of them down.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.contender import BARE, OURS, THREADS, missing_packages
from tests.benchmarks.measure import Waits, percentile
from tests.benchmarks.role import READY
from tests.benchmarks.worker import measure_worker
from tests.support.postgres import fresh_database

ROOT = Path(__file__).resolve().parents[2]
NOT_INSTALLED = "not installed"
NO_BULK_API = "no bulk API"
FAILED = "failed"
_WITHOUT_BULK = ("Huey", BARE)
_LIMIT_S = 900.0
_TRACEBACK = "Traceback (most recent call last)"

Values = dict[str, float]


class RoleError(Exception):
    """A process of a measurement failed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure and how much of it.

    Args:
        jobs: How many jobs are enqueued or drained.
        repeats: How often each measurement is made.
        seconds: How long pickups are measured.
        rate_hz: Jobs a second while they are.
        figures: Names of the measurements.
        server_url: The PostgreSQL server, when one is needed.
    """

    jobs: int
    repeats: int
    seconds: float
    rate_hz: float
    figures: tuple[str, ...]
    server_url: str | None


@dataclass(slots=True)
class Outcome:
    """What became of one figure of one contender.

    Args:
        repeats: Values by name, one mapping for each repeat that succeeded.
        remark: Why there is none, or what was odd.
    """

    repeats: dict[int, Values] = field(default_factory=dict)
    remark: str = ""


@dataclass(slots=True)
class Report:
    """All outcomes of one backend, by figure and contender."""

    backend: str
    contenders: tuple[str, ...]
    facts: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, dict[str, Outcome]] = field(default_factory=dict)


@contextlib.contextmanager
def empty_database(backend: str, server_url: str | None) -> Iterator[str]:
    """Yield the file or the URL of a database that nobody has used."""
    if backend == "sqlite":
        with tempfile.TemporaryDirectory(prefix="forge-bench-") as folder:
            yield str(Path(folder) / "queue.sqlite")
        return
    if server_url is None:
        raise ValueError("no PostgreSQL server was started")
    with fresh_database(server_url) as url:
        yield url


def measure(
    backend: str, contenders: Sequence[str], plan: Plan, say: Callable[[str], None]
) -> Report:
    """Measure the contenders of one backend.

    Args:
        backend: ``sqlite`` or ``postgres``.
        contenders: Ours first.
        plan: What to measure.
        say: Is told what is being done.
    """
    report = Report(backend, tuple(contenders))
    for contender in contenders:
        report.facts[contender] = _facts(contender, backend, plan)
    for figure in plan.figures:
        report.outcomes[figure] = {each: Outcome() for each in contenders}
        for repeat in range(plan.repeats):
            order = contenders if repeat % 2 == 0 else tuple(reversed(contenders))
            for contender in order:
                say(f"{backend}: {figure}, {contender}, {repeat + 1}/{plan.repeats}")
                outcome = report.outcomes[figure][contender]
                _attempt(outcome, repeat, (figure, contender, backend), plan)
    return report


def _facts(contender: str, backend: str, plan: Plan) -> str:
    if missing := missing_packages(contender, backend):
        return f"{NOT_INSTALLED}: {', '.join(missing)}"
    try:
        with empty_database(backend, plan.server_url) as location:
            return str(_run("facts", contender, backend, location)["facts"])
    except RoleError as error:
        return f"{FAILED}: {error}"


def _attempt(
    outcome: Outcome, repeat: int, subject: tuple[str, str, str], plan: Plan
) -> None:
    figure, contender, backend = subject
    if missing_packages(contender, backend):
        outcome.remark = NOT_INSTALLED
    elif figure == "bulk" and contender in _WITHOUT_BULK:
        outcome.remark = NO_BULK_API
    elif figure == "worker" and contender != OURS:
        outcome.remark = "not measured"
    else:
        try:
            with empty_database(backend, plan.server_url) as location:
                outcome.repeats[repeat] = _FIGURES[figure](
                    contender, backend, location, plan
                )
        except (RoleError, TimeoutError) as error:
            outcome.remark = f"{FAILED}: {error}"


# -- the figures -----------------------------------------------------------------------


def _enqueue(contender: str, backend: str, location: str, plan: Plan) -> Values:
    return _run("enqueue", contender, backend, location, "--jobs", plan.jobs)


def _threads(contender: str, backend: str, location: str, plan: Plan) -> Values:
    return _run("threads", contender, backend, location, "--jobs", plan.jobs)


def _processes(contender: str, backend: str, location: str, plan: Plan) -> Values:
    _run("prepare", contender, backend, location)
    options = ("caller", contender, backend, location, "--jobs", plan.jobs // THREADS)
    waits = Waits()
    with contextlib.ExitStack() as stack:
        callers = [stack.enter_context(_started(*options)) for _ in range(THREADS)]
        for each in callers:
            if each.stdout is None or each.stdout.readline().strip() != READY:
                _result_of(each, "caller")
        for each in callers:
            assert each.stdin is not None
            each.stdin.write("\n")
            each.stdin.flush()
        for each in callers:
            result = _result_of(each, "caller")
            waits.began += result["began"]
            waits.ended += result["ended"]
            waits.ms += result["ms"]
    return waits.figures()


def _bulk(contender: str, backend: str, location: str, plan: Plan) -> Values:
    return _run("bulk", contender, backend, location, "--jobs", plan.jobs)


def _drain(contender: str, backend: str, location: str, plan: Plan) -> Values:
    _run("fill", contender, backend, location, "--jobs", plan.jobs)
    return _run("drain", contender, backend, location, "--jobs", plan.jobs)


def _burst(contender: str, backend: str, location: str, plan: Plan) -> Values:
    options = (contender, backend, location, "--jobs", plan.jobs)
    _run("prepare", contender, backend, location)
    with _started("consume", *options) as worker:
        if worker.stdout is None or worker.stdout.readline().strip() != READY:
            return _result_of(worker, "consume")
        at = _run("burst", *options) | _result_of(worker, "consume")
        return {
            "rate": plan.jobs / (at["ended"] - at["began"]),
            "enqueue": plan.jobs / (at["stored"] - at["began"]),
        }


def _pickup(contender: str, backend: str, location: str, plan: Plan) -> Values:
    pace = ("--rate", plan.rate_hz, "--seconds", plan.seconds)
    _run("prepare", contender, backend, location)
    with _started("serve", contender, backend, location, *pace) as worker:
        if worker.stdout is None or worker.stdout.readline().strip() != READY:
            return _latencies(_result_of(worker, "serve"))
        _run("produce", contender, backend, location, *pace)
        return _latencies(_result_of(worker, "serve"))


def _pickup_in_process(
    contender: str, backend: str, location: str, plan: Plan
) -> Values:
    pace = ("--rate", plan.rate_hz, "--seconds", plan.seconds)
    _run("prepare", contender, backend, location)
    return _latencies(_run("pickup", contender, backend, location, *pace))


def _worker(contender: str, backend: str, location: str, _: Plan) -> Values:
    _run("fill", contender, backend, location, "--jobs", 1)
    return measure_worker(backend, location, ROOT)


_FIGURES: dict[str, Callable[[str, str, str, Plan], Values]] = {
    "enqueue": _enqueue,
    "threads": _threads,
    "processes": _processes,
    "bulk": _bulk,
    "drain": _drain,
    "burst": _burst,
    "pickup": _pickup,
    "pickup-in-process": _pickup_in_process,
    "worker": _worker,
}
FIGURES = tuple(_FIGURES)


def _latencies(result: dict[str, Any]) -> Values:
    values = result["ms"]
    return {
        "p50": percentile(values, 50),
        "p99": percentile(values, 99),
        "max": percentile(values, 100),
        "lost": float(result["lost"]),
    }


# -- the processes ---------------------------------------------------------------------


@contextlib.contextmanager
def _started(
    verb: str, contender: str, backend: str, location: str, *options: object
) -> Iterator[subprocess.Popen[str]]:
    command = [verb, contender, backend, location, *map(str, options)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.role", *command],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _run(
    verb: str, contender: str, backend: str, location: str, *options: object
) -> dict[str, Any]:
    with _started(verb, contender, backend, location, *options) as process:
        return _result_of(process, verb)


def _result_of(process: subprocess.Popen[str], verb: str) -> dict[str, Any]:
    try:
        output, errors = process.communicate(timeout=_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise RoleError(f"{verb} took longer than {_LIMIT_S:g} s") from None
    lines = output.splitlines()
    if process.returncode != 0 or not lines:
        why = errors.strip().splitlines() or [f"status {process.returncode}"]
        raise RoleError(f"{verb}: {why[-1]}")
    if _TRACEBACK in errors:
        # A worker goes on after an error of its own, but not at its usual speed.
        raise RoleError(f"{verb} logged {errors.strip().splitlines()[-1]}")
    result: dict[str, Any] = json.loads(lines[-1])
    return result
