"""What was seen in one trial, what must hold of it, and all of them as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tests.acceptance.failover.fates import Fates

BACK_WITHIN_S = 2.0
# The median wait for a start after the return, beside that of the same trial before the
# fault: half as much again, and what a busy machine adds. Without any fault two medians
# of thirty were seen to differ by 10 ms; a worker that polls would add hundreds.
SLOWER_BY = 1.5
NOISE_MS = 15.0
_HEADS = (
    "fault", "lease", "jobs", "lost", "stuck", "twice", "python", "http", "workers",
    "ended", "p50 before", "after", "ratio", "",
)  # fmt: skip
_FIRST_WIDTH = 32
_WIDTH = 12


@dataclass(slots=True)
class Outcome(Fates):
    """One row of the table.

    Args:
        fault: What happened to the server.
        lease_s: The lease of the workers.
        producers_s: Seconds from the return of the server until it answers a producer
            in Python for good.
        api_s: Until ``POST`` is answered with 200 for good.
        workers_s: Until a job is started that was stored after the return.
        before_ms: Median wait for a start before the fault.
        after_ms: The same for jobs that were stored until 5 s after the return.
        answers: What the API's clients were told, with numbers.
    """

    fault: str
    lease_s: float
    producers_s: float = math.inf
    api_s: float = math.inf
    workers_s: float = math.inf
    before_ms: float = math.inf
    after_ms: float = math.inf
    answers: str = ""

    @property
    def ratio(self) -> float:
        """How the median wait has grown."""
        return self.after_ms / self.before_ms

    def misses(self) -> list[str]:
        """Return what does not hold."""
        found = self.harm()
        found += [
            f"{who} back after {back_s:.1f} s"
            for who, back_s in (
                ("producers", self.producers_s),
                ("API", self.api_s),
                ("workers", self.workers_s),
            )
            if back_s > BACK_WITHIN_S
        ]
        if not self.after_ms <= SLOWER_BY * self.before_ms + NOISE_MS:
            found.append(f"p50 {self.after_ms:.1f} ms after {self.before_ms:.1f} ms")
        return found + self.complaints

    def cells(self) -> tuple[str, ...]:
        """Return the row."""
        return (
            self.fault,
            f"{self.lease_s:g} s",
            *(str(count) for count in (self.jobs, self.lost, self.stuck, self.twice)),
            *(
                f"{back_s:.2f} s"
                for back_s in (self.producers_s, self.api_s, self.workers_s)
            ),
            str(self.ended),
            f"{self.before_ms:.1f} ms",
            f"{self.after_ms:.1f} ms",
            f"{self.ratio:.2f}",
            "MISSED" if self.misses() else "held",
        )


def table(outcomes: Iterable[Outcome]) -> str:
    """Return the figures of all trials, what was missed below."""
    outcomes = list(outcomes)
    lines = [_line(_HEADS), *(_line(each.cells()) for each in outcomes)]
    for each in outcomes:
        lines += [f"{each.fault}, lease {each.lease_s:g} s: {m}" for m in each.misses()]
    rule = (
        f"back: at most {BACK_WITHIN_S:g} s; p50: at most {SLOWER_BY:g} times that "
        f"before and {NOISE_MS:g} ms"
    )
    return "\n".join([*lines, rule])


def _line(cells: Iterable[str]) -> str:
    first, *others = cells
    return f"{first:<{_FIRST_WIDTH}}{''.join(f'{cell:>{_WIDTH}}' for cell in others)}"
