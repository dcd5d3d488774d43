"""Presence: which worker processes are there, as seen by one of them.

A process that beats no more is gone within seconds, long before its jobs are given to
others: sharing out its workers too early costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flask_forge_jobs.runtime.reaper import Silence
from flask_forge_jobs.storage.processes import ProcessRegistry

# Two beats of a process that is well, see the heartbeat.
SILENT_S = 4.0


class Presence:
    """Looks for the other processes.

    Args:
        processes: The process registry.
        host_id: This process, which is always there.
        queue_names: Its declared queues.
        written_until: Returns the monotonic instant up to which this process is known
            to have been able to write; silence counts up to there only.
    """

    def __init__(
        self,
        processes: ProcessRegistry,
        *,
        host_id: str,
        queue_names: Sequence[str],
        written_until: Callable[[], float],
    ) -> None:
        self._processes = processes
        self._host_id = host_id
        self._queue_names = tuple(queue_names)
        self._written_until = written_until
        self._silence: Silence[str] = Silence()
        self._counted_until: float | None = None

    def look(self) -> Mapping[str, Sequence[str]]:
        """Return the declared queues of each process that is there."""
        until = self._written_until()  # before the look, as the reaper has it
        last, self._counted_until = self._counted_until, None  # an error voids it
        seen = self._processes.presences()
        elapsed_s = 0.0 if last is None else max(until - last, 0.0)
        if elapsed_s > SILENT_S:  # this process was itself stopped or kept out
            elapsed_s = 0.0
        self._silence.observe(
            ((pod.host_id, pod.heartbeat_at) for pod, _ in seen),
            elapsed_s,
            {pod.host_id: age_s for pod, age_s in seen},
        )
        self._counted_until = until
        gone = set(self._silence.longer_than(SILENT_S))
        there = {pod.host_id: pod.queues for pod, _ in seen if pod.host_id not in gone}
        return there | {self._host_id: self._queue_names}
