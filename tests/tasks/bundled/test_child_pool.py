"""Warm programs, real ones."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Outcome, Throttled
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.bundled.child_pool import (
    DEFAULT_TIMEOUT_S,
    LONGEST_LINE_BYTES,
    ChildPool,
)
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.registry import TaskRegistry
from tests.support.leaks import assert_leaks_nothing
from tests.support.processes import is_alive
from tests.support.runtimes import LIMIT_S, add, running, wait_for_status
from tests.support.waiting import wait_until

# Does what a payload says; ``{id}`` in an answer is the job's.
CHILD = """
import json, os, subprocess, sys, time
for line in sys.stdin:
    request = json.loads(line)
    payload = request["payload"]
    if "note" in payload:
        helper = subprocess.Popen(
            [sys.executable, "-S", "-c", "import time; time.sleep(600)"],
            stdout=subprocess.DEVNULL,
        )
        with open(payload["note"] + ".draft", "w") as file:
            file.write(f"{os.getpid()} {helper.pid}")
        os.rename(file.name, payload["note"])
    if "close" in payload:
        os.close(1)
    time.sleep(payload.get("sleep", 0))
    if "exit" in payload:
        sys.exit(payload["exit"])
    if "raw" in payload:
        answer = payload["raw"]
    else:
        answer = json.dumps({"id": request["id"], **payload.get("answer", {})})
    # No id of a job has an I or an L.
    answer = answer.replace("PID", str(os.getpid())).replace(
        "VARIABLES", " ".join(sorted(os.environ))
    )
    print(answer, flush=True)
"""
OK = {"answer": {"status": "ok"}}
WHO = {"answer": {"status": "error", "message": "PID"}}


def pool_of(*, size: int = 1, script: str = CHILD, **more: Any) -> ChildPool:
    return ChildPool(
        "resize", [sys.executable, "-S", "-c", script], size=size, environ={}, **more
    )


@pytest.fixture
def pool() -> Iterator[ChildPool]:
    with contextlib.closing(pool_of()) as found:
        yield found


@pytest.fixture
def begin(make_context: Callable[..., TaskContext]) -> Callable[..., TaskContext]:
    """Returns a context with real time."""

    def make(*, limit_s: float | None = None) -> TaskContext:
        clock = SystemClock()
        deadline = None if limit_s is None else clock.monotonic() + limit_s
        return replace(make_context(deadline=deadline), clock=clock)

    return make


@pytest.fixture
def context(begin: Callable[..., TaskContext]) -> TaskContext:
    return begin()


class Held:
    """A job whose child is busy until it is let go."""

    def __init__(self, pool: ChildPool, context: TaskContext, path: Path) -> None:
        self.context = context
        self._outcomes: list[Outcome] = []
        text = json.dumps({"note": str(path), "sleep": 600})
        self._thread = threading.Thread(
            target=lambda: self._outcomes.append(pool.run(context, text))
        )
        self._thread.start()
        wait_until(path.exists, "the child is busy")
        self.pids = [int(word) for word in path.read_text().split()]

    def end(self) -> Outcome:
        self._thread.join(LIMIT_S)
        (outcome,) = self._outcomes
        return outcome


def ask(pool: ChildPool, context: TaskContext, payload: object) -> Outcome:
    return pool.run(context, json.dumps(payload))


def pid_of(outcome: Outcome) -> int:
    assert isinstance(outcome, Failed), outcome
    return int(outcome.message)


# -- answers -------------------------------------------------------------------------


def test_answers_become_outcomes(pool: ChildPool, context: TaskContext) -> None:
    def answered(**answer: object) -> Outcome:
        return ask(pool, context, {"answer": answer})

    dead = answered(status="dead", message="never")
    throttled = answered(status="throttled", retry_after_secs=7)
    default = answered(status="throttled")

    assert answered(status="ok") == Done()
    assert answered(status="error", message="no\u0000good") == Failed("no\ufffdgood")
    assert answered(status="error") == Failed("no message")
    assert isinstance(dead, Dead)
    assert dead.message == "never"
    assert isinstance(throttled, Throttled)
    assert isinstance(default, Throttled)
    assert (throttled.retry_after_s, default.retry_after_s) == (7, 60)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("no JSON", "Expecting value"),
        ("[]", "list indices"),
        ('{"status":"ok"}', "'id'"),
        ('{"id":"other","status":"ok"}', "it is for job 'other'"),
        ('{"id":"01JOB"}', "'status'"),
        ('{"id":"01JOB","status":"fine"}', "its status is 'fine'"),
        ('{"id":"01JOB","status":"throttled","retry_after_secs":"x"}', "not a number"),
        ('{"id":"01JOB","status":"ok"}\n{}', "too many values"),
    ],
)
def test_who_answers_anything_else_is_replaced(
    pool: ChildPool, context: TaskContext, raw: str, why: str
) -> None:
    before = pid_of(ask(pool, context, WHO))

    outcome = ask(pool, context, {"raw": raw})

    assert isinstance(outcome, Failed)
    assert outcome.message.startswith("the child gave an invalid answer")
    assert why in outcome.message
    assert not is_alive(before)
    assert pid_of(ask(pool, context, WHO)) != before


def test_an_answer_has_a_longest_line(pool: ChildPool, context: TaskContext) -> None:
    """1 MiB, and the largest payload fits."""
    head = '{"id":"01JOB","status":"ok","x":"'
    longest = head + "x" * (LONGEST_LINE_BYTES - len(head) - 2) + '"}'
    script = CHILD.replace('payload["raw"]', 'payload["raw"] * payload["times"]')
    with contextlib.closing(pool_of(script=script)) as other:
        endless = ask(other, context, {"raw": "x" * 1024, "times": 2048})

    assert ask(pool, context, {"raw": longest}) == Done()
    assert endless == Failed("the child gave an answer of more than 1048576 bytes")


def test_a_stale_line_is_not_taken_for_an_answer(
    context: TaskContext, tmp_path: Path
) -> None:
    """Whoever speaks unasked is replaced before the next job."""
    go, said = tmp_path / "go", tmp_path / "said"
    script = f"""{CHILD}
    if os.path.exists({str(said)!r}):
        continue
    while not os.path.exists({str(go)!r}):
        time.sleep(0.01)
    print('{{"id":"01JOB","status":"dead"}}', flush=True)
    open({str(said)!r}, "w").close()
"""
    with contextlib.closing(pool_of(script=script)) as pool:
        first = pid_of(ask(pool, context, WHO))
        go.touch()
        wait_until(said.exists, "the stale line is there")
        second = pid_of(ask(pool, context, WHO))

    assert first != second


# -- children ------------------------------------------------------------------------


def test_a_child_is_used_again(pool: ChildPool, context: TaskContext) -> None:
    assert len({pid_of(ask(pool, context, WHO)) for _ in range(5)}) == 1


def test_nothing_starts_before_the_first_job(context: TaskContext) -> None:
    """A web process registers the task too; then all of them start."""
    me = psutil.Process()
    before = len(me.children())
    with contextlib.closing(pool_of(size=3)) as pool:
        at_first = len(me.children())
        ask(pool, context, OK)

        assert (at_first, len(me.children())) == (before, before + 3)

    assert len(me.children()) == before


def test_a_job_goes_to_a_child_that_is_idle(
    begin: Callable[..., TaskContext], tmp_path: Path
) -> None:
    """Never behind a busy one while others idle."""
    with contextlib.closing(pool_of(size=2)) as pool:
        held = Held(pool, begin(), tmp_path / "pids")

        pids = {pid_of(ask(pool, begin(), WHO)) for _ in range(4)}
        held.context.cancel.cancel(CancelReason.USER)
        held.end()

    assert len(pids) == 1
    assert held.pids[0] not in pids


def test_a_job_waits_for_a_child(
    begin: Callable[..., TaskContext], pool: ChildPool, tmp_path: Path
) -> None:
    held = Held(pool, begin(), tmp_path / "pids")
    timer = threading.Timer(0.1, held.context.cancel.cancel, [CancelReason.USER])
    timer.start()

    outcome = ask(pool, begin(limit_s=LIMIT_S), OK)
    timer.join()

    assert outcome == Done()
    held.end()


@pytest.mark.parametrize("cancels", [False, True])
def test_the_wait_for_a_child_ends_in_time(
    begin: Callable[..., TaskContext], pool: ChildPool, tmp_path: Path, *, cancels: bool
) -> None:
    """It counts towards the limit, and can be cancelled."""
    held = Held(pool, begin(), tmp_path / "pids")
    context = begin(limit_s=None if cancels else 0.1)
    timer = threading.Timer(0.1, context.cancel.cancel, [CancelReason.USER])
    if cancels:
        timer.start()

    outcome = ask(pool, context, OK)

    assert outcome == Failed("stopped while every child was busy")
    held.context.cancel.cancel(CancelReason.USER)
    held.end()


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"exit": 3}, "the child ended with exit status 3"),
        ({"close": True, "sleep": 600}, "the child closed its output"),
    ],
)
def test_a_child_that_gives_no_answer_is_replaced(
    pool: ChildPool, context: TaskContext, payload: object, message: str
) -> None:
    before = pid_of(ask(pool, context, WHO))

    assert ask(pool, context, payload) == Failed(message)
    assert pid_of(ask(pool, context, WHO)) != before
    assert not is_alive(before)


def test_a_child_that_died_while_idle_is_replaced(
    pool: ChildPool, context: TaskContext
) -> None:
    before = pid_of(ask(pool, context, WHO))
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: not is_alive(before), "it is dead")

    assert pid_of(ask(pool, context, WHO)) != before


@pytest.mark.parametrize("reason", [None, CancelReason.USER])
def test_a_stopped_job_ends_its_child_and_all_it_has_started(
    begin: Callable[..., TaskContext],
    pool: ChildPool,
    tmp_path: Path,
    reason: CancelReason | None,
) -> None:
    held = Held(pool, begin(limit_s=None if reason else 5.0), tmp_path / "pids")
    if reason is not None:
        held.context.cancel.cancel(reason)

    outcome = held.end()

    assert outcome == Failed("the child was killed by signal 15 (SIGTERM)")
    assert held.context.cancel.reason is (reason or CancelReason.TIMEOUT)
    wait_until(lambda: not any(map(is_alive, held.pids)), "nobody is left")


def test_a_program_that_is_not_there_is_dead(
    context: TaskContext, tmp_path: Path
) -> None:
    pool = ChildPool("resize", [str(tmp_path / "missing")], environ={})

    outcomes = [ask(pool, context, OK) for _ in range(2)]

    for outcome in outcomes:
        assert isinstance(outcome, Dead)
        assert outcome.message.startswith(f"spawn {tmp_path / 'missing'}: [Errno 2]")


def test_children_get_no_secret(context: TaskContext) -> None:
    environ = {"PATH": "/bin", "DATABASE_URL": "secret"}
    pool = ChildPool(
        "resize",
        [sys.executable, "-S", "-c", CHILD],
        variables={"COLOR": "green"},
        environ=environ,
    )
    with contextlib.closing(pool):
        answer = {"answer": {"status": "error", "message": "VARIABLES"}}
        outcome = ask(pool, context, answer)

    assert isinstance(outcome, Failed)
    names = set(outcome.message.split()) - {"LC_CTYPE"}
    assert names == {"COLOR", "PATH"}


def test_a_damaged_payload_is_dead(pool: ChildPool, context: TaskContext) -> None:
    outcome = pool.run(context, "{")

    assert isinstance(outcome, Dead)
    assert outcome.message.startswith("corrupt row: ")


def test_nothing_leaks_over_many_deaths(pool: ChildPool, context: TaskContext) -> None:
    ask(pool, context, {"exit": 1})

    assert_leaks_nothing(lambda: ask(pool, context, {"exit": 1}), 30)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"command": []}, "command: must be a program"),
        ({"command": "python"}, "command: must be a program"),
        ({"size": 0}, "size: 0 is not within 1 to 64"),
        ({"timeout_s": 0}, "timeout_s: 0 is not within"),
        ({"kind": " "}, "kind: must not be blank"),
    ],
)
def test_a_wrong_registration_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        ChildPool(**{"kind": "resize", "command": ["/bin/cat"]} | options)


def test_the_default_limit_is_ten_minutes() -> None:
    assert ChildPool("resize", ["/bin/cat"]).timeout_s == DEFAULT_TIMEOUT_S == 600


# -- in a worker, on both backends ---------------------------------------------------


def test_a_worker_hands_its_jobs_to_children(storage: Storage) -> None:
    registry = TaskRegistry()
    with contextlib.closing(pool_of(size=2)) as pool:
        registry.add(pool)
        with running(storage, registry):
            good = [add(storage, "resize", payload=json.dumps(OK)) for _ in range(10)]
            bad = add(
                storage, "resize", payload=json.dumps({"exit": 3}), max_attempts=1
            )
            for job_id in good:
                wait_for_status(storage, job_id, JobStatus.DONE)
            job = wait_for_status(storage, bad, JobStatus.DEAD)

    assert job.last_error == "the child ended with exit status 3"
