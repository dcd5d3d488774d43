"""Steps and checkpoints of jobs in a worker, on each backend."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Failed, Snooze
from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.runtime.run.steps import StoredSteps, keep_checkpoint
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.tasks.cancellation import CancelledError
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.steps import StepsOfRun
from tests.support.jobs import OWNER, claim_one, enqueue, rescue_all
from tests.support.processes import in_child
from tests.support.runtimes import QuickTask, add, registry_of, running, wait_for_status

Function = Callable[[TaskContext], object]


def run_to_the_end(storage: Storage, function: Function) -> str:
    """Run a job of a function until it is done; return its id."""
    with running(storage, registry_of(QuickTask(function=function)), threads=1):
        job_id = add(storage, "quick")
        wait_for_status(storage, job_id, JobStatus.DONE)
    return job_id


@pytest.mark.parametrize("outcome", [Failed("no", 0.0), Snooze(0.0)])
def test_the_next_run_goes_on_behind_the_last_step(
    storage: Storage, outcome: Failed | Snooze
) -> None:
    calls: list[str] = []
    runs: list[str] = []

    def part(name: str) -> str:
        calls.append(name)
        return name

    def work(context: TaskContext) -> object:
        fetched = context.step("fetch", part, "a")
        runs.append(context.job_id)
        if len(runs) == 1:
            return outcome
        assert fetched == "a"
        context.step("store", part, "b")
        return None

    job_id = run_to_the_end(storage, work)

    assert calls == ["a", "b"]
    kept = storage.steps.kept(job_id).results
    assert kept == {"fetch": '"a"', "store": '"b"'}


def test_the_next_run_goes_on_at_the_place_that_was_saved(storage: Storage) -> None:
    places: list[int] = []

    def work(context: TaskContext) -> object:
        for place in range(context.checkpoint or 0, 6):
            places.append(place)
            context.save(place + 1)
            if len(places) == 3:
                return Failed("no", 0.0)
        return None

    run_to_the_end(storage, work)

    assert places == [0, 1, 2, 3, 4, 5]


def test_a_stopped_worker_gives_a_job_back_with_its_place(storage: Storage) -> None:
    begun, places = threading.Event(), []

    def work(context: TaskContext) -> object:
        places.append(context.checkpoint)
        try:
            while context.checkpoint is None or len(places) == 1:
                context.save({"place": 7})
                begun.set()
        except CancelledError:
            return Failed("stopped")
        return None

    task = QuickTask(function=work)
    with running(storage, registry_of(task), threads=1):
        job_id = add(storage, "quick")
        begun.wait(30)
    with running(storage, registry_of(task), threads=1):
        wait_for_status(storage, job_id, JobStatus.DONE)

    assert places == [None, {"place": 7}]


def test_the_first_run_of_a_job_reads_nothing(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    enqueue(storage)
    steps = StoredSteps(storage.steps, OWNER, keep_checkpoint)
    first = Execution(claim_one(storage), 0.0)
    monkeypatch.setattr(storage.steps, "kept", lambda _: 1 / 0)

    assert steps.kept(first).results == {}

    rescue_all(storage)
    storage.job_admin.run_now(first.job.id)
    again = Execution(claim_one(storage), 0.0)
    with pytest.raises(ZeroDivisionError):
        steps.kept(again)


# -- killed between two instructions -----------------------------------------------


class Killer:
    """Counts the lines of ours that run, and kills the process at one of them."""

    def __init__(self, at_line: int | None) -> None:
        self.lines = 0
        self._at_line = at_line

    def trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if "flask_forge_jobs" not in frame.f_code.co_filename:
            return None
        if event == "line":
            if self.lines == self._at_line:
                os.kill(os.getpid(), signal.SIGKILL)
            self.lines += 1
        return self.trace


def pay(storage: Storage, job: ClaimedJob, log: Path, at_line: int | None) -> int:
    """Run a step that writes a line to a log; return how many lines of ours ran."""

    def work() -> str:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{job.claim}\n")
        return f"paid by run {job.claim}"

    steps = StepsOfRun(StoredSteps(storage.steps, OWNER), Execution(job, 0.0), _lost)
    killer = Killer(at_line)
    sys.settrace(killer.trace)
    try:
        steps.call("pay", work, (), {})
    finally:
        sys.settrace(None)
    return killer.lines


def _lost() -> NoReturn:
    raise AssertionError("the job is ours")


def killed_at(
    settings: DatabaseSettings, job: ClaimedJob, log: Path, at_line: int
) -> None:
    """Run the step in a process that is killed at a line."""

    def work() -> None:
        with contextlib.closing(open_storage(settings)) as own:
            own.steps.kept(job.id)  # opens it
            pay(own, job, log, at_line)

    assert in_child(work) == -signal.SIGKILL


# Each line takes a process, so the default tier takes one in forty.
@pytest.mark.parametrize("stride", [40, pytest.param(1, marks=pytest.mark.long)])
def test_a_kill_at_any_line_of_a_step_keeps_it_or_runs_it_again(
    storage: Storage, database_settings: DatabaseSettings, tmp_path: Path, stride: int
) -> None:
    def lines_of_one() -> int:
        enqueue(storage)
        return pay(storage, claim_one(storage), tmp_path / "whole", None)

    # A step that waits for another writer has more of them.
    lines = min(lines_of_one() for _ in range(3))
    assert lines > 2 * stride
    outcomes = set()

    for at_line in {*range(0, lines, stride), lines - 1}:
        log = tmp_path / f"log {at_line}"
        job_id = enqueue(storage)
        killed_at(database_settings, claim_one(storage), log, at_line)
        before = storage.steps.kept(job_id).results
        storage.jobs.rescue(e for e in storage.jobs.running() if e.id == job_id)
        storage.job_admin.run_now(job_id)
        pay(storage, claim_one(storage), log, None)

        runs = log.read_text("utf-8").split()
        after = storage.steps.kept(job_id).results
        assert after == {"pay": f'"paid by run {runs[-1]}"'}, at_line
        if before:
            assert (before, runs) == (after, ["1"]), at_line
        else:
            assert runs in (["2"], ["1", "2"]), at_line
        outcomes.add((bool(before), len(runs)))

    # Killed before its work, between that and the commit, and behind the commit.
    assert outcomes == {(False, 1), (False, 2), (True, 1)}
