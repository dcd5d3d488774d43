from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.outcomes import Done, Failed, Released, Throttled
from flask_forge_jobs.runtime.loop.handover import Ended
from flask_forge_jobs.runtime.prefetch import MAX_BYTES_AHEAD
from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.runtime.slots import DIRECT_S
from flask_forge_jobs.tasks.registry import TaskRegistry
from tests.support.clocks import MovingClock
from tests.support.runtimes import (
    LIMIT_S,
    WORKER_ID,
    Bench,
    HeldTask,
    QuickTask,
    claimed,
    registry_of,
)
from tests.support.waiting import wait_until

QUEUES = ("default", "a", "b")
GONE = Failed("timed out")


class Rig(Bench):
    """No dispatcher: the test feeds the handover and takes what has ended."""

    def feed(self, *job_ids: str, kind: str = "held", queue: str = "default") -> None:
        self.handover.feed([claimed(job_id, kind, queue=queue) for job_id in job_ids])

    def wait_for_ends(self, count: int) -> list[str]:
        """Wait until so many have ended, and take what has."""
        wait_until(lambda: len(self.ended) >= count, f"{count} have ended")
        return [execution.job.id for execution, _ in self.take_ended()]

    def take_ended(self) -> list[Ended]:
        ended = self.ended
        self.handover.drop_ended(len(ended))
        return ended

    def refused(self) -> list[str]:
        """Take the jobs that go back although nothing has run."""
        return [execution.job.id for execution, _ in self.take_ended()]

    def running(self) -> list[str]:
        return sorted(execution.job.id for execution in self.handover.running)

    @property
    def waiting(self) -> int:
        return self.slots.waiting


@contextlib.contextmanager
def rig_of(
    registry: TaskRegistry,
    *,
    threads: int = 4,
    queues: tuple[str, ...] = ("default",),
    limit: int = 64,
    clock: Clock | None = None,
) -> Iterator[Rig]:
    rig = Rig(*queues, clock=clock, registry=registry, threads=threads)
    for name in queues:
        rig.handover.set_limit(name, limit)
    try:
        yield rig
    finally:
        rig.handover.close(LIMIT_S)


def thread_count() -> int:
    return sum(
        each.name.startswith("forge-jobs-slot") for each in threading.enumerate()
    )


# -- running -------------------------------------------------------------------------


def test_pool_runs_no_more_than_its_threads(held: HeldTask) -> None:
    with rig_of(registry_of(held), threads=2) as rig:
        rig.feed("a", "b", "c")
        held.wait_for_start(2)

        assert rig.running() == ["a", "b"]
        assert rig.waiting == 1
        held.release.set()
        assert sorted(rig.wait_for_ends(3)) == ["a", "b", "c"]


def test_a_run_that_ends_wakes_the_dispatcher() -> None:
    with rig_of(registry_of(QuickTask())) as rig:
        rig.feed("a", kind="quick")
        rig.wait_for_ends(1)
        rig.handover.close(LIMIT_S)

        assert rig.is_awake


def test_pool_runs_no_more_of_a_queue_than_its_limit(held: HeldTask) -> None:
    queues = ("narrow", "wide")
    with rig_of(registry_of(held), queues=queues) as rig:
        rig.handover.set_limit("narrow", 1)
        rig.feed("n1", "n2", queue="narrow")
        rig.feed("w1", "w2", queue="wide")
        held.wait_for_start(3)

        assert rig.running() == ["n1", "w1", "w2"]
        held.release.set()


def test_pool_starts_threads_only_when_they_are_needed() -> None:
    before = thread_count()
    with rig_of(registry_of(QuickTask()), threads=64) as rig:
        for number in range(20):
            rig.feed(f"job-{number}", kind="quick")
            rig.wait_for_ends(1)

        assert thread_count() - before <= 2


def test_a_slot_is_reused_after_a_run() -> None:
    with rig_of(registry_of(QuickTask()), threads=1) as rig:
        rig.feed("a", "b", "c", kind="quick")

        assert rig.wait_for_ends(3) == ["a", "b", "c"]


def test_a_higher_limit_starts_what_waits(held: HeldTask) -> None:
    with rig_of(registry_of(held), limit=1) as rig:
        rig.feed("a", "b")
        held.wait_for_start(1)

        rig.handover.set_limit("default", 2)
        held.wait_for_start(1)

        assert rig.running() == ["a", "b"]
        held.release.set()


def test_a_lower_limit_leaves_what_runs(held: HeldTask) -> None:
    """Shrinking never touches a running job."""
    with rig_of(registry_of(held)) as rig:
        rig.feed("a", "b")
        held.wait_for_start(2)

        rig.handover.set_limit("default", 0)

        assert rig.running() == ["a", "b"]
        assert not any(context.cancel.is_cancelled for context in held.contexts)
        assert rig.handover.demand(QUEUES) == {}
        held.release.set()


# -- demand --------------------------------------------------------------------------


def test_demand_is_what_the_threads_have_room_for(held: HeldTask) -> None:
    with rig_of(registry_of(held), threads=3) as rig:
        before = rig.handover.demand(QUEUES)
        rig.feed("a", "b")
        held.wait_for_start(2)

        assert before == {"default": 3}
        assert rig.handover.demand(QUEUES) == {"default": 1}
        held.release.set()


def test_demand_shares_the_threads_between_queues_in_turn() -> None:
    with rig_of(TaskRegistry(), threads=2, queues=("a", "b")) as rig:
        first, second = rig.handover.demand(QUEUES), rig.handover.demand(QUEUES)

        assert first == {"a": 2}
        assert second == {"b": 2}


def test_a_queue_keeps_its_turn_until_a_thread_is_free(held: HeldTask) -> None:
    """However often a busy worker asks meanwhile."""
    with rig_of(registry_of(held), threads=1, queues=("a", "b")) as rig:
        first = rig.handover.demand(QUEUES)
        rig.feed("job", queue="a")
        held.wait_for_start()
        meanwhile = rig.handover.demand(QUEUES)
        held.release.set()
        rig.wait_for_ends(1)

        assert first == {"a": 1}
        assert meanwhile == {}
        assert rig.handover.demand({"a", "b"})["b"] == 1


def test_demand_gives_a_queue_without_work_no_share() -> None:
    """Else the other one would wait for the next poll."""
    with rig_of(TaskRegistry(), threads=2, queues=("a", "b")) as rig:
        assert [rig.handover.demand({"b"}) for _ in range(3)] == [{"b": 2}] * 3


def test_demand_prefetches_only_for_quick_tasks(held: HeldTask) -> None:
    clock = MovingClock()  # a busy machine is not quick
    with rig_of(registry_of(held, QuickTask()), threads=1, clock=clock) as rig:
        unknown = rig.handover.demand(QUEUES)
        rig.feed("a", kind="quick")
        rig.wait_for_ends(1)
        wait_until(lambda: not rig.handover.running, "the slot is free")

        assert unknown == {"default": 1}
        assert rig.handover.demand(QUEUES)["default"] > 1


@pytest.mark.parametrize("queues", [("a",), ("a", "b")])
def test_demand_shares_the_bytes_that_may_wait_between_the_queues(
    queues: tuple[str, ...],
) -> None:
    tasks, clock = registry_of(QuickTask()), MovingClock()
    with rig_of(tasks, threads=1, queues=queues, clock=clock) as rig:
        large = claimed("first", "quick", queue="a")
        rig.handover.feed([large._replace(payload="x" * MAX_BYTES_AHEAD)])
        rig.wait_for_ends(1)
        wait_until(lambda: not rig.handover.running, "the slot is free")

        # One for the slot, and one more where it may have all of the bytes.
        assert rig.handover.demand({"a"}) == {"a": 1 + 1 // len(queues)}


def test_demand_of_a_queue_that_may_run_nothing_is_nothing() -> None:
    with rig_of(registry_of(QuickTask())) as rig:
        rig.feed("a", kind="quick")
        rig.wait_for_ends(1)
        rig.handover.set_limit("default", 0)

        assert rig.handover.demand(QUEUES) == {}


def test_demand_of_a_queue_is_not_lost_to_what_another_has_claimed_ahead(
    held: HeldTask,
) -> None:
    """A backlog of quick jobs keeps a buffer full, and so all threads taken."""
    queues = ("a", "b")
    with rig_of(registry_of(held, QuickTask()), threads=4, queues=queues) as rig:
        rig.feed("quick", kind="quick", queue="a")
        rig.wait_for_ends(1)
        rig.feed(*(f"a{number}" for number in range(200)), queue="a")
        held.wait_for_start(4)

        assert rig.handover.demand(queues) == {"b": 2}
        rig.feed("b0", "b1", queue="b")
        assert rig.handover.demand(queues) == {}
        held.release.set()


# -- jobs that may not wait: under some a worker died, for others it is the last run --


def suspect(job_id: str, *, queue: str = "default") -> ClaimedJob:
    return claimed(job_id, attempts=2, queue=queue)._replace(crashes=1)


@pytest.mark.parametrize(
    "third",
    [
        suspect("c"),
        claimed("c", max_attempts=1),
        claimed("c", attempts=5, max_attempts=5),
    ],
)
def test_some_jobs_never_wait_for_a_slot(held: HeldTask, third: ClaimedJob) -> None:
    with rig_of(registry_of(held), threads=2) as rig:
        jobs = [suspect("a"), claimed("b"), third, claimed("d")]

        rig.handover.feed(jobs)
        held.wait_for_start(2)

        assert rig.running() == ["a", "b"]
        assert rig.refused() == ["c"]
        assert rig.waiting == 1
        held.release.set()


def test_a_suspect_keeps_to_the_limit_of_its_queue(held: HeldTask) -> None:
    queues = ("narrow", "wide")
    with rig_of(registry_of(held), queues=queues) as rig:
        rig.handover.set_limit("narrow", 1)

        rig.handover.feed(
            suspect(job_id, queue=queue)
            for job_id, queue in (("n1", "narrow"), ("n2", "narrow"), ("w1", "wide"))
        )

        assert rig.refused() == ["n2"]
        held.release.set()


def test_nothing_is_claimed_ahead_for_a_second_once_one_of_them_went_back(
    held: HeldTask,
) -> None:
    clock = MovingClock()
    with rig_of(registry_of(held, QuickTask()), threads=1, clock=clock) as rig:
        rig.feed("quick", kind="quick")
        rig.wait_for_ends(1)
        rig.feed("a")
        ahead = rig.handover.demand(QUEUES)
        rig.handover.feed([suspect("b")])
        at_first = rig.handover.demand(QUEUES)
        clock.move(DIRECT_S)

        assert ahead
        assert at_first == {}
        assert rig.handover.demand(QUEUES) == ahead
        held.release.set()


# -- giving back ---------------------------------------------------------------------


def test_what_has_not_started_goes_back(held: HeldTask) -> None:
    with rig_of(registry_of(held), threads=1) as rig:
        rig.feed("a", "b", "c")
        held.wait_for_start(1)

        rig.handover.give_back_waiting()

        assert rig.refused() == ["b", "c"]
        assert rig.waiting == 0
        held.release.set()
        assert rig.wait_for_ends(1) == ["a"]


@pytest.mark.parametrize("scope", ["queue", "job"])
def test_what_waits_in_a_throttled_queue_goes_back(scope: str) -> None:
    """Each of up to 1,024 jobs would else ask a service that wants a pause."""
    task = QuickTask(function=lambda _: Throttled(60, scope=scope))
    with rig_of(registry_of(task), threads=1) as rig:
        rig.feed("a", "b", "c", kind="quick")

        assert rig.wait_for_ends(3) == ["a", "b", "c"]

    assert task.job_ids == (["a"] if scope == "queue" else ["a", "b", "c"])


def test_nothing_starts_after_the_stop() -> None:
    """A claim was under way, for instance."""
    task = QuickTask()
    with rig_of(registry_of(task)) as rig:
        rig.lease.is_claiming = False

        rig.feed("a", kind="quick")

        assert rig.refused() == ["a"]
        assert rig.waiting == 0
    assert task.job_ids == []


# -- abandoning ----------------------------------------------------------------------


def test_abandon_frees_the_slot_and_drops_the_late_outcome(
    stubborn: HeldTask, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the old thread still returns changes nothing."""
    with rig_of(registry_of(stubborn, QuickTask()), threads=1) as rig:
        rig.feed("stuck", kind="stubborn")
        stubborn.wait_for_start(1)
        (execution,) = rig.handover.running

        was_running = rig.handover.abandon(execution, GONE)
        rig.refused()
        rig.feed("next", kind="quick")
        ended = rig.wait_for_ends(1)
        blocked = rig.handover.abandoned_count
        stubborn.release.set()
        wait_until(
            lambda: not rig.handover.abandoned_count, "the late outcome is dropped"
        )

        assert was_running
        assert ended == ["next"]
        assert rig.take_ended() == []
        assert (blocked, rig.handover.abandoned_count) == (1, 0)
        assert "abandoned job stuck has ended" in caplog.text


def test_abandon_wakes_an_idle_thread_for_what_waits(
    stubborn: HeldTask, held: HeldTask
) -> None:
    """The queue was full and a thread idle: nobody else would tell it."""
    tasks = registry_of(stubborn, held, QuickTask())
    with rig_of(tasks, threads=4, queues=("narrow", "wide")) as rig:
        rig.handover.set_limit("narrow", 1)
        rig.feed("w1", "w2", kind="held", queue="wide")
        held.wait_for_start(2)
        held.release.set()
        rig.wait_for_ends(2)  # two threads, both idle from here on
        rig.feed("stuck", kind="stubborn", queue="narrow")
        stubborn.wait_for_start(1)
        rig.feed("waits", kind="quick", queue="narrow")
        rig.feed("w3", kind="quick", queue="wide")
        rig.wait_for_ends(1)  # the other thread has looked, and sleeps again
        (execution,) = rig.handover.running

        rig.handover.abandon(execution, GONE)

        assert rig.wait_for_ends(2) == ["stuck", "waits"]
        stubborn.release.set()


def test_abandon_of_a_run_that_has_ended_changes_nothing(held: HeldTask) -> None:
    """B9: a time-out at the moment of success."""
    with rig_of(registry_of(held)) as rig:
        rig.feed("a")
        held.wait_for_start(1)
        (execution,) = rig.handover.running
        held.release.set()
        wait_until(lambda: rig.ended, "the run has ended")

        was_running = rig.handover.abandon(execution, GONE)

        assert not was_running
        assert rig.handover.abandoned_count == 0
        assert rig.wait_for_ends(1) == ["a"]


def test_slot_ids_are_never_shared(stubborn: HeldTask) -> None:
    """The successor in a slot has an id of its own."""
    with rig_of(registry_of(stubborn), threads=2) as rig:
        rig.feed("first", kind="stubborn")
        stubborn.wait_for_start(1)
        before = rig.handover.slot_reports(WORKER_ID)
        (execution,) = rig.handover.running
        rig.handover.abandon(execution, GONE)
        rig.feed("second", kind="stubborn")
        stubborn.wait_for_start(1)
        after = rig.handover.slot_reports(WORKER_ID)
        stubborn.release.set()

    assert [slot.slot_id for slot in before] == [
        "default-0-host-1-0",
        "default-1-host-1-0",
    ]
    assert [slot.slot_id for slot in after] == [
        "default-0-host-1-1",
        "default-1-host-1-0",
    ]
    assert [slot.current_job_id for slot in after] == ["second", None]


def test_report_names_a_slot_above_a_lowered_limit_while_it_runs(
    held: HeldTask,
) -> None:
    with rig_of(registry_of(held), threads=2) as rig:
        rig.feed("a", "b")
        held.wait_for_start(2)
        rig.handover.set_limit("default", 1)

        jobs = {slot.current_job_id for slot in rig.handover.slot_reports(WORKER_ID)}

        assert jobs == {"a", "b"}
        held.release.set()


# -- the end -------------------------------------------------------------------------


def test_wait_until_quiet_tells_whether_all_has_ended(held: HeldTask) -> None:
    with rig_of(registry_of(held)) as rig:
        rig.feed("a")
        held.wait_for_start(1)

        early = rig.handover.wait_until_quiet(0.01)
        held.release.set()

        assert not early
        assert rig.handover.wait_until_quiet(LIMIT_S)


def test_close_ends_every_thread(held: HeldTask) -> None:
    before = thread_count()
    with rig_of(registry_of(held)) as rig:
        rig.feed("a", "b")
        held.release.set()
        rig.wait_for_ends(2)

        has_ended = rig.handover.close(LIMIT_S)

    assert has_ended
    # A thread that an earlier test has left may end meanwhile.
    assert thread_count() <= before


def test_close_does_not_wait_for_a_stuck_thread(stubborn: HeldTask) -> None:
    with rig_of(registry_of(stubborn)) as rig:
        rig.feed("stuck", kind="stubborn")
        stubborn.wait_for_start(1)

        assert not rig.handover.close(0.05)
        stubborn.release.set()


def test_a_thread_that_cannot_start_lowers_the_demand(
    held: HeldTask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A13: never claim what cannot run."""
    with rig_of(registry_of(held), threads=8) as rig:
        rig.feed("a")
        held.wait_for_start(1)

        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        rig.feed("b")
        demand = rig.handover.demand(QUEUES)
        monkeypatch.undo()
        held.release.set()

        assert demand == {}
        assert "cannot start more threads; using 1" in caplog.text
        assert sorted(rig.wait_for_ends(2)) == ["a", "b"]
        assert rig.handover.close(LIMIT_S)


def test_many_short_runs_are_each_handed_in_once() -> None:
    total = 2000
    task = QuickTask("quick", lambda _: Done())
    with rig_of(registry_of(task), threads=8) as rig:
        ended: list[str] = []
        for start in range(0, total, 50):
            rig.feed(*(f"{n}" for n in range(start, start + 50)), kind="quick")
        while len(ended) < total:
            ended.extend(rig.wait_for_ends(1))

    assert sorted(ended, key=int) == [str(n) for n in range(total)]
    assert sorted(task.job_ids, key=int) == sorted(ended, key=int)


# -- without a thread ----------------------------------------------------------------


def ids(rig: Bench) -> set[str]:
    return {run.job_id for run in rig.handover.runs()}


def test_what_waits_goes_back_by_queue() -> None:
    rig = Bench("a", "b")
    for name in ("a", "b"):
        rig.waits(claimed(name, queue=name))

    rig.handover.set_limit("b", 0)
    first = [execution.job.id for execution, _ in rig.ended]
    rig.handover.give_back_waiting()

    assert first == ["b"]
    assert [outcome for _, outcome in rig.ended] == [Released(), Released()]
    assert rig.is_awake
    assert ids(rig) == {"a", "b"}


def test_a_queue_whose_jobs_have_not_waited_long_keeps_them() -> None:
    clock = MovingClock()
    rig = Bench("a", "b", clock=clock)
    rig.waits(claimed("a", queue="a"))
    clock.move(1.0)
    late = rig.waits(claimed("b", queue="b"))

    oldest = rig.handover.give_back_waiting(clock.monotonic() - 0.5)

    assert oldest == late.claimed_at
    assert [execution.job.id for execution, _ in rig.ended] == ["a"]


def test_runs_are_known_from_their_claim_until_their_end_is_taken() -> None:
    rig = Bench()
    rig.started(claimed("runs"))
    rig.waits(claimed("waits"))
    rig.put(Execution(claimed("ended"), 0.0), Done())

    assert ids(rig) == {"runs", "waits", "ended"}
    assert [run.job.id for run in rig.handover.running] == ["runs"]


def test_the_start_of_a_long_run_is_taken_once() -> None:
    clock = MovingClock()
    rig = Bench(clock=clock)
    for job_id in ("job-1", "job-2"):
        rig.started(claimed(job_id))
    early = rig.handover.take_uncounted_starts(clock.monotonic() - 1)
    clock.move(1)
    first = rig.handover.take_uncounted_starts(clock.monotonic() - 1)
    second = rig.handover.take_uncounted_starts(clock.monotonic() - 1)

    assert (early, second) == ([], [])
    assert {each.job.id for each in first} == {"job-1", "job-2"}
    assert all(each.is_start_counted for each in first)
