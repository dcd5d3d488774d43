"""What was seen of one event by one way, what must hold of it, and all as a table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tests.acceptance.failover.fates import Fates

# The first job after a plain write goes through again, by way.
BACK_WITHIN_S = {"haproxy": 3.0, "hosts": 3.0, "pgbouncer": 5.0}
# The host that hangs is tried first.
CONNECT_TIMEOUT_S = 2.0
# FORGE_JOBS_STATEMENT_TIMEOUT_S and 4 s.
LONGEST_CALL_S = 14.0
HEALTH_WITHIN_S = 1.0
READY_WITHIN_S = 4.0
# What an answer half a second old may still say, and an old one that is under way.
MAX_LIES = 3
_HEADS = (
    "event", "way", "jobs", "lost", "stuck", "twice", "untrue", "orders", "ended",
    "promoted", "way", "first", "longest", "health", "ready", "lies", "unknown", "",
)  # fmt: skip
_WIDTHS = (36, 11, *(10,) * 16)


@dataclass(slots=True)
class Outcome(Fates):
    """One row of the table.

    Args:
        event: What happened.
        way: By which way it was seen.
        untrue: Jobs that are stored although the caller was told that they are not.
        orders: Orders that were stored in a transaction with their job.
        halves: Orders without a job, and the other way round.
        promoted_s: Seconds from the event until another node took over, if one did.
        way_s: Until plain writes by this way went through again; None if they always
            did.
        first_s: From then until the first job was stored.
        longest_s: The longest call of a caller in Python.
        health_s: The longest answer of ``/health``.
        ready_s: The longest answer for readiness.
        lies: How often it said "ready" while no write went through.
        unknown: Outcomes that were unknown, until they were asked for by their id.
    """

    event: str
    way: str
    untrue: int = 0
    orders: int = 0
    halves: int = 0
    promoted_s: float | None = None
    way_s: float | None = None
    first_s: float = 0.0
    longest_s: float = math.inf
    health_s: float = math.inf
    ready_s: float = math.inf
    lies: int = 0
    unknown: int = 0

    def misses(self) -> list[str]:
        """Return what does not hold."""
        counts = {
            "stored after a refusal": self.untrue,
            "halves of an order": self.halves,
            'times "ready" without writes': max(self.lies - MAX_LIES, 0),
        }
        found = self.harm()
        found += [f"{count} {what}" for what, count in counts.items() if count]
        limits = {
            "first job after": (self.first_s, self._first_limit_s),
            "a call took": (self.longest_s, LONGEST_CALL_S),
            "/health took": (self.health_s, HEALTH_WITHIN_S),
            "readiness took": (self.ready_s, READY_WITHIN_S),
        }
        found += [
            f"{what} {took_s:.1f} s"
            for what, (took_s, limit_s) in limits.items()
            if not took_s <= limit_s
        ]
        return found + self.complaints

    @property
    def _first_limit_s(self) -> float:
        hangs = self.way == "hosts" and "freezes" in self.event
        return BACK_WITHIN_S[self.way] + CONNECT_TIMEOUT_S * hangs

    def cells(self) -> tuple[str, ...]:
        """Return the row."""
        counts = (self.jobs, self.lost, self.stuck, self.twice, self.untrue)
        back = [
            "-" if each is None else f"{each:.1f} s"
            for each in (self.promoted_s, self.way_s)
        ]
        times = (self.first_s, self.longest_s, self.health_s, self.ready_s)
        return (
            self.event,
            self.way,
            *(str(count) for count in counts),
            f"{self.orders}{f'/{self.halves}' if self.halves else ''}",
            str(self.ended),
            *back,
            *(f"{each:.2f} s" for each in times),
            str(self.lies),
            str(self.unknown),
            "MISSED" if self.misses() else "held",
        )


def table(outcomes: Iterable[Outcome]) -> str:
    """Return the figures of all events, what was missed below."""
    outcomes = list(outcomes)
    lines = [_line(_HEADS), *(_line(each.cells()) for each in outcomes)]
    for each in outcomes:
        lines += [f"{each.event}, {each.way}: {miss}" for miss in each.misses()]
    limits = ", ".join(f"{way} {most:g} s" for way, most in BACK_WITHIN_S.items())
    rule = (
        f"first job: {limits}, {CONNECT_TIMEOUT_S:g} s more if the first of several "
        f"hosts hangs; a call: {LONGEST_CALL_S:g} s; /health: {HEALTH_WITHIN_S:g} s; "
        f"readiness: {READY_WITHIN_S:g} s"
    )
    return "\n".join([*lines, rule])


def _line(cells: Iterable[str]) -> str:
    padded = [
        f"{cell:<{width}}" if number < 2 else f"{cell:>{width}}"
        for number, (cell, width) in enumerate(zip(cells, _WIDTHS, strict=True))
    ]
    return "".join(padded)
