"""How many jobs to claim before there is a slot for them.

Claiming ahead lets short jobs follow one another without a database call in between. A
claimed job cannot run elsewhere, so only as many are taken as the recent mean run time
says will start within 50 ms; none for slow or unknown tasks.
"""

from __future__ import annotations

HORIZON_S = 0.05
MOST_AHEAD = 128
# Weight of the newest run in the mean: about the last ten count.
_WEIGHT = 0.2


class LookAhead:
    """The running mean of one queue's run times."""

    def __init__(self) -> None:
        self._mean_s: float | None = None

    def learn(self, run_s: float) -> None:
        """Take a run time into the mean, in seconds."""
        if self._mean_s is None:
            self._mean_s = run_s
        else:
            self._mean_s += _WEIGHT * (run_s - self._mean_s)

    def disappoint(self) -> None:
        """Forget the mean: claimed jobs waited far longer than it promised."""
        self._mean_s = None

    def jobs(self, slots: int) -> int:
        """Return how many jobs will start within the horizon, 0 to 128.

        Args:
            slots: How many run at once.
        """
        if self._mean_s is None or self._mean_s >= HORIZON_S:
            return 0
        return min(int(slots * HORIZON_S / max(self._mean_s, 1e-6)), MOST_AHEAD)
