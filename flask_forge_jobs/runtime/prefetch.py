"""Prefetch: how many jobs to claim before a slot is free."""

from __future__ import annotations

HORIZON_S = 0.05
# Of jobs that are claimed ahead by their mean run time; and if slots run out of jobs.
MAX_BY_MEAN = 128
MAX_AHEAD = 1024
MAX_BYTES_AHEAD = 16 * 1024 * 1024  # payloads of the prefetched jobs of a process
# No fewer are claimed than this part of what a claim may ask for: a claim of few costs
# hardly less than one of many.
_FEW = 0.5
# Weight of the newest job in the means: about the last ten count.
_WEIGHT = 0.2
# A shorter run and a smaller payload count for less, so that the quick jobs between two
# slow ones, say one in twenty, do not hide that slow ones exist.
_LESSER_WEIGHT = 0.02


class Prefetch:
    """How many jobs of one queue to claim ahead.

    With prefetching, short jobs follow one another without a database call. A claimed
    job cannot run elsewhere, so only those are claimed that start within 50 ms; none
    for slow or unknown tasks. The recent mean run time tells how many those are. It
    includes the waits for the interpreter, so of the quickest tasks more are claimed:
    twice as many as before once the slots have run out of jobs, and half as many once a
    job has waited for more than 50 ms. If they are many, each claim asks for half, so
    that the others run while it travels. ``max_bytes`` bounds the payloads, by their
    recent mean size.
    """

    def __init__(self, max_bytes: int = MAX_BYTES_AHEAD) -> None:
        self._max_bytes = max_bytes
        self._mean_s: float | None = None
        self._mean_bytes: float | None = None
        self._window = 0
        self.asked = self.came = 0
        """How many jobs the last claim asked for, and how many came."""
        self.has_run_out = False
        """Whether a slot was free when the first of them came."""
        self.waiting_bytes = 0
        """The size of the payloads that wait."""

    def learn(self, run_s: float) -> None:
        """Add a run time in seconds to the mean."""
        mean = self._mean_s
        if mean is None:
            self._mean_s = run_s
        else:
            weight = _WEIGHT if run_s > mean else _LESSER_WEIGHT
            self._mean_s = mean + weight * (run_s - mean)

    def take(self, payload_bytes: int) -> None:
        """Count a job that waits, and add the size of its payload to the mean."""
        self.came += 1
        self.waiting_bytes += payload_bytes
        mean = self._mean_bytes
        if mean is None:
            self._mean_bytes = float(payload_bytes)
        elif payload_bytes != mean:
            weight = _WEIGHT if payload_bytes > mean else _LESSER_WEIGHT
            self._mean_bytes = mean + weight * (payload_bytes - mean)

    def reset(self) -> None:
        """Forget the mean, because prefetched jobs waited longer than it promised."""
        self._mean_s, self._window = None, 0

    def jobs(self, slots: int, waiting: int = 0, waited_s: float = 0.0) -> int:
        """Return how many jobs to prefetch now for these slots, 0 to 512.

        Args:
            slots: How many jobs may run at once.
            waiting: Jobs that have been prefetched already.
            waited_s: For how many seconds the first of them waits.
        """
        if self._mean_s is None or self._mean_s >= HORIZON_S:
            self._window = 0
            return 0
        by_mean = int(slots * HORIZON_S / max(self._mean_s, 1e-6))
        target = max(min(by_mean, MAX_BY_MEAN), self._window)
        if waited_s > HORIZON_S:
            self._window //= 2
        elif self.has_run_out and 0 < self.asked <= self.came:
            self._window = min(2 * target, MAX_AHEAD)
        self.has_run_out = False
        target = max(min(by_mean, MAX_BY_MEAN), self._window)
        asking = min(target, max(target // 2, MAX_BY_MEAN))
        if target - waiting < _FEW * asking:
            return 0
        room_bytes = self._max_bytes - self.waiting_bytes
        fit = int(room_bytes / max(self._mean_bytes or 1.0, 1.0))
        return max(min(target - waiting, asking, fit), 0)
