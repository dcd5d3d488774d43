"""Row E1: wall clocks that jump while jobs run.

What jumps is the clock of one worker, that of all of them, or that of the database. For
SQLite the last one is the clock of the whole host, that of the producer too. The clock
of PostgreSQL cannot be moved from outside; that it jumps ahead is, for everything that
is stored, the same as if all stored instants had moved back, so that is done instead.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from flask_forge_jobs import NewJob
from flask_forge_jobs.model.instants import SECOND_US, from_micros
from flask_forge_jobs.model.payloads import dump
from tests.acceptance.application import JUMP_VARIABLE, KIND, JumpingClock
from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.scene import MAX_ATTEMPTS, Scene, staged
from tests.acceptance.ledger import Ack

LEASE_S = 3.0
WORKERS = 2
HOUR_S = 3_600.0
JUMPS_S = (HOUR_S, -HOUR_S, 24 * HOUR_S, -24 * HOUR_S)
TARGETS = ("one", "all", "server")
# Longer than a lease and everything that a reaper needs besides.
HELD_S = 5.0
JITTER_S = 0.1
JITTER_STEPS = 50
DUE_IN_S = 2.0


def jumps(bench: Bench) -> str:
    """E1: no live job is given back, none is stuck, and nothing lasts a negative time.

    Every jump is taken back after a while, as no run can wait an hour for a job that an
    hour put off.
    """
    clocks = [bench.folder / f"clock-{number}" for number in range(WORKERS)]
    own = bench.folder / "clock-of-the-producer"
    cases = [(target, jump_s) for target in TARGETS for jump_s in JUMPS_S]
    cases = cases[:: bench.pick(5, 1, 1)]
    with staged(bench, threads=8, lease_s=LEASE_S, clock=JumpingClock(own)) as scene:
        for clock in clocks:
            scene.start(1, **{JUMP_VARIABLE: str(clock)})
        for target, jump_s in cases:
            _work(scene)
            for shift_s in (jump_s, -jump_s):
                _jump(scene, target, [*clocks, own], shift_s)
                _work(scene)
                _look_for(scene, HELD_S)
            scene.wait_for_quiet()
        _jitter(scene, clocks[0])
        scene.wait_for_quiet()
        scene.check()
        reaped = sum(row.crashes for row in scene.evidence.rows)
        assert reaped == 0, f"{reaped} jobs of live workers were given back"
        count = len(scene.evidence.rows)
        felt_us = scene.sql.value(
            "SELECT MAX(ABS(completed_at - enqueued_at)) FROM forge_job"
        )
    longest_s = max(abs(jump_s) for _, jump_s in cases)
    assert felt_us > (longest_s - HELD_S) * SECOND_US, "no clock has jumped"
    return f"{len(cases)} jumps and back, 1 jitter, {count} jobs, 0 reaps, 0 stuck"


def _work(scene: Scene) -> None:
    """Store jobs that are quick, that outlast the jump, and that are due later."""
    scene.enqueue(
        {"number": n, "sleep_ms": takes_ms}
        for n, takes_ms in enumerate((1, 10, 100, 4_000))
    )
    due_at = from_micros(scene.sql.now_us()) + timedelta(seconds=DUE_IN_S)
    payload = dump({"number": 0, "sleep_ms": 1})
    job = NewJob(KIND, payload, run_at=due_at, max_attempts=MAX_ATTEMPTS)
    scene.evidence.acks.append(Ack(scene.storage.jobs.enqueue(job).id))


def _jump(scene: Scene, target: str, clocks: list[Path], jump_s: float) -> None:
    *workers, own = clocks
    if target == "server" and scene.bench.backend == "postgres":
        scene.sql.age(jump_s)
        return
    moved = {"one": workers[:1], "all": workers, "server": clocks}[target]
    for clock in moved:
        before_s = float(clock.read_text()) if clock.exists() else 0.0
        _set(clock, before_s + jump_s)
    assert own in clocks


def _set(clock: Path, skew_s: float) -> None:
    """Replace the file at once: whoever reads it must not find half of it."""
    new = clock.with_suffix(".new")
    new.write_text(str(skew_s))
    new.replace(clock)


def _look_for(scene: Scene, seconds: float) -> None:
    """Look at what operators see for a while."""
    for _ in range(round(seconds)):
        threading.Event().wait(1.0)
        for path in ("/queue/overview", "/queue/workers", "/v1/stats"):
            negative = [each for each in _numbers(scene.get(path)) if each < 0]
            assert not negative, f"{path} shows {negative[0]}"


def _numbers(document: object) -> Iterator[float]:
    if isinstance(document, dict):
        for value in document.values():
            yield from _numbers(value)
    elif isinstance(document, list):
        for value in document:
            yield from _numbers(value)
    elif isinstance(document, int | float):
        yield document


def _jitter(scene: Scene, clock: Path) -> None:
    _work(scene)
    for _ in range(JITTER_STEPS):
        _set(clock, scene.bench.random.uniform(-JITTER_S, JITTER_S))
        threading.Event().wait(HELD_S / JITTER_STEPS)
    _set(clock, 0.0)
