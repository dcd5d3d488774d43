"""The rate of a soak's producers, which follows how busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from tests.acceptance.soak.probes import MachineTime

# Seconds between two looks; in less, one restart of a worker would change the rate.
PERIOD_S = 30.0
_GAIN = 0.5
_MAX_CHANGE = 0.1
_YARDSTICK = 20_000


@dataclass(frozen=True, slots=True)
class Pulse:
    """How fast everything went for half a minute.

    Args:
        at_s: When it ended, in seconds of a monotonic clock.
        rate: Jobs a second, of each backend.
        busy: Share of the processors that was used, from 0 to 1.
        loop_ms: Processor time of a loop that is always the same, in milliseconds: a
            larger number is a slower machine, whatever we do.
    """

    at_s: float
    rate: float
    busy: float
    loop_ms: float

    @property
    def efficiency(self) -> float:
        """Jobs for the work of a processor, however fast it is; not in any unit."""
        return self.rate * self.loop_ms / self.busy if self.busy else 0.0


class Pace:
    """Keeps the machine as busy as a soak wants it.

    A rate that is right for one machine, or for one hour of it, keeps it half idle or
    full in another, where latency tells of nothing else. All backends share one.

    Args:
        rate: Jobs a second to begin with, of each backend.
        load: Share of all processors to keep busy, from 0 to 1; 0 keeps the rate.
    """

    def __init__(self, rate: float, load: float = 0.0) -> None:
        self.rate = rate
        self.pulses: list[Pulse] = []
        self._load = load
        self._machine = MachineTime()

    def turn(self, number: int) -> None:
        """Look at the last half minute and adjust the rate."""
        before, self._machine = self._machine, MachineTime()
        if not number:  # nothing has happened yet
            return
        busy = before.busy_share()
        self.pulses.append(Pulse(time.monotonic(), self.rate, busy, loop_ms()))
        self.rate = adjusted(self.rate, busy, self._load)


def adjusted(rate: float, busy: float, load: float) -> float:
    """Return the next rate, a tenth higher or lower at most.

    Args:
        rate: The present one.
        busy: What share of the processors it used.
        load: What share it should use; 0 keeps the rate.
    """
    change = _GAIN * (load - busy) if load else 0.0
    return rate * (1 + min(max(change, -_MAX_CHANGE), _MAX_CHANGE))


def loop_ms() -> float:
    """Return the processor time of the yardstick, in milliseconds."""
    began_at = time.thread_time()
    total = 0
    for number in range(_YARDSTICK):
        total += number
    return (time.thread_time() - began_at) * 1000


def mean_of(pulses: Sequence[Pulse]) -> Pulse:
    """Return the mean of at least one pulse."""
    return Pulse(
        pulses[-1].at_s,
        fmean(each.rate for each in pulses),
        fmean(each.busy for each in pulses),
        fmean(each.loop_ms for each in pulses),
    )
