"""Prefetch: how many jobs to claim before a slot is free."""

from __future__ import annotations

from flask_forge_jobs.model.claims import ClaimedJob

HORIZON_S = 0.05
MAX_AHEAD = 128
MAX_BYTES_AHEAD = 16 * 1024 * 1024  # payloads of the prefetched jobs of a process
# No more are claimed while this part of them waits: a claim of many costs little more
# than a claim of one.
_ENOUGH = 0.75
# Weight of the newest job in the means: about the last ten count.
_WEIGHT = 0.2
# A shorter run and a smaller payload count for less, so that the quick jobs between two
# slow ones, say one in twenty, do not hide that slow ones exist.
_LESSER_WEIGHT = 0.02


class Prefetch:
    """The recent mean run time and payload size of one queue.

    With prefetching, short jobs follow one another without a database call. A claimed
    job cannot run elsewhere, so only those are claimed that, by the recent mean run
    time, start within 50 ms; none for slow or unknown tasks. ``most_bytes`` bounds the
    payloads, by their recent mean size.
    """

    def __init__(self, most_bytes: int = MAX_BYTES_AHEAD) -> None:
        self._most_bytes = most_bytes
        self._mean_s: float | None = None
        self._mean_bytes: float | None = None

    def learn(self, run_s: float) -> None:
        """Add a run time in seconds to the mean."""
        mean = self._mean_s
        if mean is None:
            self._mean_s = run_s
        else:
            weight = _WEIGHT if run_s > mean else _LESSER_WEIGHT
            self._mean_s = mean + weight * (run_s - mean)

    def learn_size(self, payload_bytes: int) -> None:
        """Add the size of a claimed payload to the mean."""
        mean = self._mean_bytes
        if mean is None:
            self._mean_bytes = float(payload_bytes)
        elif payload_bytes != mean:
            weight = _WEIGHT if payload_bytes > mean else _LESSER_WEIGHT
            self._mean_bytes = mean + weight * (payload_bytes - mean)

    def reset(self) -> None:
        """Forget the mean, because prefetched jobs waited longer than it promised."""
        self._mean_s = None

    def jobs(self, slots: int, waiting: int = 0, waiting_bytes: int = 0) -> int:
        """Return how many jobs to prefetch for these slots, 0 to 128.

        Args:
            slots: How many jobs may run at once.
            waiting: Jobs that have been prefetched already.
            waiting_bytes: The size of their payloads.
        """
        if self._mean_s is None or self._mean_s >= HORIZON_S:
            return 0
        start = min(int(slots * HORIZON_S / max(self._mean_s, 1e-6)), MAX_AHEAD)
        if waiting > _ENOUGH * start:
            return 0
        room_bytes = self._most_bytes - waiting_bytes
        fit = int(room_bytes / max(self._mean_bytes or 1.0, 1.0))
        return max(min(start - waiting, fit), 0)


def may_wait(job: ClaimedJob) -> bool:
    """Whether a job may be prefetched, which counts as an attempt.

    If this process died, a job in its last attempt would end unstarted, and a job that
    has seen a crash would be blamed for another.
    """
    return job.attempts < job.max_attempts and not job.crashes
