"""Shares of failed runs, and whether one is higher than another by more than chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Standard errors of a bound, which is wrong once in 2,000 times. Bounds of two equal
# shares hardly ever pass each other by chance.
_Z = 3.29
# Of fewer runs, a share says too little.
FEW_RUNS = 20
# A smaller distance to the usual share would hardly show in whole percents.
_FAR = 0.02
# A share of failures that is bad however usual it is.
_ALWAYS_BAD = 0.25


@dataclass(frozen=True, slots=True)
class Failures:
    """How many of some runs failed."""

    failed: int = 0
    runs: int = 0

    @property
    def share(self) -> float:
        """The failed part, 0 to 1; 0 without runs."""
        return self.failed / self.runs if self.runs else 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        """The interval of the true share; 0 to 1 without runs.

        Wilson's score interval, which holds for few runs and for shares near 0 and 1,
        too (E. B. Wilson, "Probable inference, the law of succession, and statistical
        inference", Journal of the American Statistical Association 22, 1927).
        """
        if not self.runs:
            return 0.0, 1.0
        weight = _Z * _Z / self.runs
        middle = self.share + weight / 2
        spread = self.share * (1 - self.share) / self.runs + weight / self.runs / 4
        margin = _Z * math.sqrt(spread)
        return (middle - margin) / (1 + weight), (middle + margin) / (1 + weight)

    def is_above(self, usual: Failures) -> bool:
        """Whether more runs fail than usual, by more than chance and by much.

        The intervals of both shares are apart, and the odds of a failure have at least
        doubled. Few runs have wide intervals, so they are never above.
        """
        has_doubled = self.failed * (usual.runs - usual.failed) >= 2 * usual.failed * (
            self.runs - self.failed
        )
        return has_doubled and self.bounds[0] > usual.bounds[1]

    def stands_out(self, usual: float) -> bool:
        """Whether the share is shown as bad beside the usual one, 0 to 1."""
        return self.runs >= FEW_RUNS and self.share >= min(usual + _FAR, _ALWAYS_BAD)

    def less(self, other: Failures) -> Failures:
        """Return these runs without some of them."""
        return Failures(
            max(self.failed - other.failed, 0), max(self.runs - other.runs, 0)
        )
