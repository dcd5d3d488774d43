"""Prefetch: how many jobs to claim before there is a slot for them.

Claiming ahead lets short jobs follow one another without a database call in between. A
claimed job cannot run elsewhere, so only as many are taken as the recent mean run time
says will start within 50 ms; none for slow or unknown tasks. Their payloads take memory
while they wait, so large ones are fewer.
"""

from __future__ import annotations

HORIZON_S = 0.05
MOST_AHEAD = 128
# What the payloads of all jobs that wait for a slot of one process take.
MOST_BYTES_AHEAD = 16 * 1024 * 1024
# Weight of the newest job in the means: about the last ten count.
_WEIGHT = 0.2
# A run that is shorter than the mean counts for less: where one job in twenty is slow,
# the quick ones between two of them must not make it seem that none is.
_SHORTER_WEIGHT = 0.02


class Prefetch:
    """The running means of one queue's run times and payloads.

    Args:
        most_bytes: Of the payloads that may wait, by their mean size of late.
    """

    def __init__(self, most_bytes: int = MOST_BYTES_AHEAD) -> None:
        self._most_bytes = most_bytes
        self._mean_s: float | None = None
        self._mean_bytes: float | None = None

    def learn(self, run_s: float) -> None:
        """Take a run time into the mean, in seconds."""
        if self._mean_s is None:
            self._mean_s = run_s
        else:
            weight = _WEIGHT if run_s > self._mean_s else _SHORTER_WEIGHT
            self._mean_s += weight * (run_s - self._mean_s)

    def learn_size(self, payload_bytes: int) -> None:
        """Take the size of a claimed payload into the mean, in bytes."""
        if self._mean_bytes is None:
            self._mean_bytes = float(payload_bytes)
        else:
            self._mean_bytes += _WEIGHT * (payload_bytes - self._mean_bytes)

    def reset(self) -> None:
        """Forget the mean: claimed jobs waited far longer than it promised."""
        self._mean_s = None

    def jobs(self, slots: int) -> int:
        """Return how many jobs will start within the horizon and fit, 0 to 128.

        Args:
            slots: How many run at once.
        """
        if self._mean_s is None or self._mean_s >= HORIZON_S:
            return 0
        start = int(slots * HORIZON_S / max(self._mean_s, 1e-6))
        fit = int(self._most_bytes / max(self._mean_bytes or 1.0, 1.0))
        return min(start, fit, MOST_AHEAD)
