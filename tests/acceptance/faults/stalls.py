"""Workers that are slow, stopped, or cannot say that they live."""

from __future__ import annotations

import time
from collections.abc import Iterable

from tests.acceptance.application import ENDED, STARTED
from tests.acceptance.faults.fault import Bench
from tests.acceptance.faults.log_texts import LOST, REFUSED, pattern
from tests.acceptance.faults.scene import Scene, staged
from tests.acceptance.fleet import Worker
from tests.acceptance.ledger import Run
from tests.support.waiting import wait_until

LEASE_S = 3.0
_REFUSALS = pattern(LOST), pattern(REFUSED)


def slow_job(bench: Bench) -> str:
    """B1: jobs take longer than the lease while their processes beat."""
    count = bench.pick(8, 500, 500)
    takes_ms = bench.pick(5_000, 10_000, 10_000)
    with staged(bench, threads=64, lease_s=LEASE_S) as scene:
        scene.start(bench.pick(2, 4, 4))
        scene.enqueue({"number": n, "sleep_ms": takes_ms} for n in range(count))
        scene.wait_for_quiet()
        checker = scene.check()
        rows = scene.evidence.rows
        reaped = sum(row.crashes for row in rows)
        starts = sum(line.event == STARTED for line in scene.evidence.lines)
        assert reaped == 0, f"{reaped} jobs were taken from processes that beat"
        assert starts == count, f"{starts} runs of {count} jobs"
        assert not checker.extra_runs()
    return f"{count} jobs of {takes_ms / 1000:g} s, 0 reaps, one run each"


def stalled_process(bench: Bench) -> str:
    """B2: processes are stopped past their lease, go on, and finish late."""
    stalls = bench.pick(2, 200, 200)
    together = bench.pick(2, 20, 20)
    with staged(bench, threads=1, lease_s=LEASE_S) as scene:
        (healthy,) = scene.start(1, "--threads", "64")
        # So many processes would need all the connections that a server has.
        victims = scene.start(together, FLASK_FORGE_JOBS_POOL_SIZE="2")
        while len(scene.evidence.kills) < stalls:
            _stall_all(scene, healthy, victims)
            victims = _living(scene, healthy)
        checker = scene.check()
        late = checker.late_ends()
        provoked = sum(len(kill.held) for kill in scene.evidence.kills)
        assert len(late) == provoked, f"{len(late)} late ends of {provoked}"
        counted = scene.refused_runs()
        assert counted == len(late), f"{counted} in /metrics of {len(late)}"
    return _refusals(scene, len(scene.evidence.kills), len(late))


def _stall_all(scene: Scene, healthy: Worker, victims: list[Worker]) -> None:
    """Stall every victim in the middle of a job, until another one runs it."""
    # Else it would take all the jobs, as it has the most threads.
    scene.fleet.pause(healthy)
    # A busy machine needs seconds until the last of twenty has begun.
    takes_ms = scene.bench.pick(3_000, 12_000, 12_000)
    ids = scene.enqueue(
        {"number": n, "sleep_ms": takes_ms, "again_ms": 1_500}
        for n in range(len(victims))
    )
    first = {(job_id, 1) for job_id in ids}
    wait_until(lambda: first <= scene.starts(), "each victim runs a job")
    stops = [(victim, scene.stop_short(victim)) for victim in victims]
    held = frozenset().union(*(stop.held for _, stop in stops))
    assert held == first, f"{len(held)} of {len(first)} jobs were held at the stop"
    scene.fleet.resume(healthy)
    second = {(job_id, 2) for job_id in ids}
    wait_until(lambda: second <= scene.starts(), "the jobs run elsewhere")
    scene.go_on(stops)
    _wait_for_ends(scene, first)
    scene.wait_for_quiet()


def _wait_for_ends(scene: Scene, runs: Iterable[Run]) -> None:
    wanted = set(runs)
    wait_until(
        lambda: wanted <= {line.run for line in scene.lines() if line.event == ENDED},
        "the late runs have ended",
    )


def _living(scene: Scene, healthy: Worker) -> list[Worker]:
    """Return the victims there are now; some asked to be replaced after a stall."""
    scene.fleet.replace_ended()
    others = [each for each in scene.fleet.workers if each is not healthy]
    for worker in others:
        scene.wait_for(worker)
    assert healthy in scene.fleet.workers
    return others


def _refusals(scene: Scene, stalls: int, late: int) -> str:
    log = scene.fleet.log.read_text()
    said = sum(len(each.findall(log)) for each in _REFUSALS)
    replaced = len(scene.fleet.replaced)
    return (
        f"{stalls} stalls, {late} late finishes, 0 accepted "
        f"({said} refusals logged, {replaced} processes replaced)"
    )


def claimed_again(bench: Bench) -> str:
    """B4: the process that lost a job claims it again and still runs it before."""
    repeats = bench.pick(4, 100, 100)
    together = bench.pick(4, 25, 25)
    with staged(bench, threads=2 * together, lease_s=LEASE_S) as scene:
        scene.start(1, "--queues", "other")
        (worker,) = scene.start(1)
        again = 0
        ends_at = time.monotonic() + 60.0 + 30.0 * repeats / together
        while again < repeats:
            assert time.monotonic() < ends_at, f"only {again} were claimed again"
            again += _stall_alone(scene, worker, together)
            scene.fleet.replace_ended()
            (worker,) = scene.fleet.workers[1:]
            scene.wait_for(worker)
        checker = scene.check()
    return (
        f"{again} claimed again by the same process, {len(checker.late_ends())} old "
        "runs finished, 0 accepted"
    )


def _stall_alone(scene: Scene, worker: Worker, count: int) -> int:
    """Stall the only worker; return how many jobs it claimed again."""
    source = scene.bench.random
    ids = scene.enqueue(
        # It goes on after about five seconds and claims them again a second later.
        {"number": n, "sleep_ms": source.randint(5_000, 8_000), "again_ms": 3_000}
        for n in range(count)
    )
    first = {(job_id, 1) for job_id in ids}
    wait_until(lambda: first <= scene.starts(), "the worker runs all")
    stop = scene.stop_short(worker)
    wait_until(
        lambda: not scene.fleet.held_by(stop.worker_id), "another process reaped them"
    )
    (stall,) = scene.go_on([(worker, stop)])
    _wait_for_ends(scene, stall.held)
    scene.wait_for_quiet()
    owners = {line.run: line.worker_id for line in scene.lines()}
    return sum(owners.get((job_id, 2)) == stop.worker_id for job_id in ids)
