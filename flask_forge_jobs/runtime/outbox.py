"""Outbox: how runs ended and which jobs go back, until the database has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flask_forge_jobs.model.jobs import RunId
from flask_forge_jobs.model.outcomes import Outcome, Released, Settlement
from flask_forge_jobs.runtime.execution import Execution
from flask_forge_jobs.runtime.settling import Settler


class Outbox:
    """What a worker has to write; whoever uses it holds the dispatcher's lock.

    Args:
        settler: Turns outcomes into writes.
    """

    def __init__(self, settler: Settler) -> None:
        self._settler = settler
        self._returns: list[Execution] = []
        self._unwritten: list[Settlement] = []

    def __bool__(self) -> bool:
        return bool(self._unwritten or self._returns)

    @property
    def has_unwritten(self) -> bool:
        """Whether there is something to write at once."""
        return bool(self._unwritten)

    def runs(self) -> set[RunId]:
        """Return what waits here; the database says that it is still ours."""
        held = {settlement.job.run_id for settlement in self._unwritten}
        return held | {execution.job.run_id for execution in self._returns}

    def give_back(self, executions: Iterable[Execution]) -> None:
        """Return claimed jobs to their queue, the attempt unspent."""
        self._returns.extend(executions)

    def put(self, execution: Execution, outcome: Outcome) -> None:
        """Take in how a run ended, unless the job is no longer ours."""
        settlement = self._settler.settle(execution, outcome)
        if settlement is not None:
            self._unwritten.append(settlement)

    def settle_returns(self) -> None:
        """Make writes of what is given back."""
        returns, self._returns = self._returns, []
        for execution in returns:
            self.put(execution, Released())

    def batch(self) -> list[Settlement]:
        """Return everything there is to write."""
        return list(self._unwritten)

    def note_written(self, batch: Sequence[Settlement]) -> None:
        """Forget a whole batch, which the database has, or has refused."""
        del self._unwritten[: len(batch)]  # what came meanwhile stands behind it

    @staticmethod
    def note_failure(batch: Sequence[Settlement]) -> None:
        """Take in that a write failed, and may be stored all the same."""
        for settlement in batch:
            settlement.was_tried = True

    def discard(self, settlement: Settlement) -> None:
        """Forget one outcome, which the database has, or has refused."""
        self._unwritten = [e for e in self._unwritten if e is not settlement]

    def replace(self, settlement: Settlement) -> None:
        """Write something else for an outcome that the database will not take."""
        self.discard(settlement)
        self._unwritten += self._settler.replacements(settlement)
