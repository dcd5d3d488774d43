"""The source of time; no other module reads the clock of the system."""

from __future__ import annotations

import time
from functools import partial
from typing import Protocol

# Linux stops the monotonic clock while the host is suspended, or its virtual machine is
# paused; systems without this clock do not.
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """A source of time."""

    def now_us(self) -> int:
        """Return the wall clock in microseconds since the Unix epoch, UTC."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps back; for durations only."""

    def since_boot(self) -> float:
        """Return seconds on one that also counts the time in which the host slept.

        For leases, which others count meanwhile. Waits and time limits do not count it.
        """


class SystemClock:
    """The clock of this host."""

    def now_us(self) -> int:
        """Return the wall clock in microseconds since the Unix epoch, UTC."""
        return time.time_ns() // 1000

    # No methods of our own, because every call of the storage and every run read them.
    monotonic = staticmethod(time.monotonic)
    since_boot = staticmethod(partial(time.clock_gettime, _BOOT_CLOCK))
