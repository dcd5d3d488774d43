"""Limits of runs that only pretend; real ones are in ``test_dispatcher.py``."""

from __future__ import annotations

from typing import cast

import pytest

from flask_forge_jobs.runtime.execution import Execution
from flask_forge_jobs.runtime.slots import SlotPool
from flask_forge_jobs.runtime.time_limits import TimeLimits
from flask_forge_jobs.tasks.cancellation import CancelReason
from tests.support.runtimes import claimed

GRACE_S = 10.0


class Slots:
    """Stands for the pool."""

    def __init__(self, *executions: Execution, own_s: float = 0.0) -> None:
        self.executions = list(executions)
        self.own_s = own_s

    def running(self) -> list[Execution]:
        return list(self.executions)

    def stop_limit_s(self, execution: Execution) -> float:
        assert execution in self.executions
        return self.own_s

    def abandon(self, execution: Execution) -> bool:
        if execution.ended_at:
            return False
        self.executions.remove(execution)
        return True


def limits_of(slots: Slots) -> TimeLimits:
    return TimeLimits(cast("SlotPool", slots), GRACE_S)


def execution_until(stops_at: float | None) -> Execution:
    execution = Execution(claimed(), 0.0)
    execution.stops_at = stops_at
    return execution


def test_a_run_is_asked_to_stop_and_then_loses_its_slot() -> None:
    execution, endless = execution_until(5.0), execution_until(None)
    limits = limits_of(Slots(execution, endless))
    looks = [list(limits.next_looks())]
    early = limits.enforce(4.9), execution.token.reason
    asked = limits.enforce(5.0), execution.token.reason
    looks.append(list(limits.next_looks()))
    waited = limits.enforce(5.0 + GRACE_S - 0.1)

    assert (early, asked, waited) == (([], None), ([], CancelReason.TIMEOUT), [])
    assert limits.enforce(5.0 + GRACE_S) == [execution]
    assert looks == [[5.0], [5.0 + GRACE_S]]
    assert not endless.token.is_cancelled


@pytest.mark.parametrize(("own_s", "gone_at"), [(3.0, 15.0), (30.0, 35.0)])
def test_who_ends_a_process_of_its_own_has_the_time_for_it(
    own_s: float, gone_at: float
) -> None:
    limits = limits_of(Slots(execution_until(5.0), own_s=own_s))

    limits.enforce(5.0)

    assert list(limits.next_looks()) == [gone_at]


def test_a_run_that_has_just_ended_keeps_its_outcome() -> None:
    """B9"""
    execution = execution_until(5.0)
    limits = limits_of(Slots(execution))
    limits.enforce(5.0)
    execution.ended_at = 6.0

    assert limits.enforce(5.0 + GRACE_S) == []
