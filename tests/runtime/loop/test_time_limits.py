"""Limits of runs that only pretend; real ones are in ``test_rounds.py``."""

from __future__ import annotations

from typing import cast

import pytest

from flask_forge_jobs.model.outcomes import Outcome
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.runtime.loop.handover import Handover
from flask_forge_jobs.runtime.loop.time_limits import TimeLimits
from flask_forge_jobs.runtime.run.execution import Execution
from tests.support.clocks import MovingClock
from tests.support.runtimes import Bench, claimed

GRACE_S = 10.0


class Rig(Bench):
    """Runs without threads; stands for the handover as well."""

    def __init__(self, *, own_s: float = 0.0) -> None:
        super().__init__(clock=MovingClock())
        self.abandoned: list[Execution] = []
        self.limits = TimeLimits(
            cast("Handover", self), stop_limit_s=lambda _: own_s, cancel_grace_s=GRACE_S
        )

    @property
    def running(self) -> list[Execution]:
        return self.handover.running

    def run_until(self, limit_s: float | None) -> Execution:
        number = len(self.running)
        execution = self.started(claimed(f"job-{number}"), timeout_s=limit_s)
        execution.started_at = 0.0
        return execution

    def abandon(self, execution: Execution, outcome: Outcome) -> bool:
        del outcome
        if execution.ended_at:
            return False
        self.queues["default"].abandon(execution)
        self.abandoned.append(execution)
        return True


def test_a_run_is_asked_to_stop_and_then_loses_its_slot() -> None:
    rig = Rig()
    execution, endless = rig.run_until(5.0), rig.run_until(None)
    looks = [rig.limits.look()]
    rig.limits.enforce(4.9)
    early = execution.token.reason
    rig.limits.enforce(5.0)
    asked = execution.token.reason
    looks.append(rig.limits.look())
    rig.limits.enforce(5.0 + GRACE_S - 0.1)
    waited = list(rig.abandoned)

    rig.limits.enforce(5.0 + GRACE_S)

    assert (early, asked, waited) == (None, CancelReason.TIMEOUT, [])
    assert rig.abandoned == [execution]
    assert looks == [5.0, 5.0 + GRACE_S]
    assert rig.limits.look() is None
    assert not endless.token.is_cancelled


def test_the_next_look_is_at_the_first_limit() -> None:
    rig = Rig()
    for stops_at in (7.0, 5.0, None, 9.0):
        rig.run_until(stops_at)

    assert rig.limits.look() == 5.0


@pytest.mark.parametrize(("own_s", "gone_at"), [(3.0, 15.0), (30.0, 35.0)])
def test_a_task_that_ends_a_process_of_its_own_has_the_time_for_it(
    own_s: float, gone_at: float
) -> None:
    rig = Rig(own_s=own_s)
    rig.run_until(5.0)

    rig.limits.enforce(5.0)

    assert rig.limits.look() == gone_at


def test_a_run_that_has_just_ended_keeps_its_outcome(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """B9"""
    rig = Rig()
    execution = rig.run_until(5.0)
    rig.limits.enforce(5.0)
    execution.ended_at = 6.0

    rig.limits.enforce(5.0 + GRACE_S)

    assert rig.abandoned == []
    assert caplog.records == []
