"""What a process holds while it runs: memory, files and threads, and how they drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, linear_regression

import psutil

HOUR_S = 3600.0
# A sample may come while a connection is being replaced.
_SLACK = 2
# At how many moments the table shows the memory, about.
_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process."""

    at_s: float
    rss_mib: float
    files: int
    threads: int


@dataclass(frozen=True, slots=True)
class Drift:
    """What became of a process between the first and the last of its samples.

    The samples are in order of time, at least two.
    """

    name: str
    samples: Sequence[Sample]

    @property
    def slope_mib(self) -> float:
        """Growth in MiB an hour, by least squares."""
        hours = [sample.at_s / HOUR_S for sample in self.samples]
        return linear_regression(hours, [each.rss_mib for each in self.samples]).slope

    def text(self) -> str:
        """Return it as a line of the table.

        Memory is shown at several moments: what settles looks different from a leak.
        """
        step = max(len(self.samples) // _SHOWN, 1)
        shown = [*self.samples[:-1:step], self.samples[-1]]
        memory = " ".join(f"{each.rss_mib:.1f}" for each in shown)
        return (
            f"{self.name:<16}{memory} MiB, "
            f"{self.slope_mib:+.2f} MiB/h; files {_range(self._all('files'))}; "
            f"threads {_range(self._all('threads'))}"
        )

    def complaints(self, most_mib: float) -> list[str]:
        """Return what is not flat.

        Args:
            most_mib: Growth in MiB an hour that is let pass.
        """
        found = []
        if self.slope_mib > most_mib:
            found.append(f"{self.name} grows by {self.slope_mib:.2f} MiB an hour")
        for what in ("files", "threads"):
            numbers = self._all(what)
            third = max(len(numbers) // 3, 1)
            grown = fmean(numbers[-third:]) - fmean(numbers[:third])
            if grown > _SLACK:
                found.append(f"{self.name} has {grown:.1f} more {what} than at first")
        return found

    def _all(self, what: str) -> list[int]:
        return [getattr(sample, what) for sample in self.samples]


def look_at(pid: int, at_s: float) -> Sample:
    """Return a sample of a living process.

    Raises:
        FileNotFoundError: It has ended.
    """
    process = Path(f"/proc/{pid}")
    fields = dict(
        line.split(":", 1) for line in (process / "status").read_text().splitlines()
    )
    return Sample(
        at_s,
        # A process that has ended but was not waited for has no memory any more.
        rss_mib=int(fields.get("VmRSS", "0 kB").split()[0]) / 1024,
        files=sum(1 for _ in (process / "fd").iterdir()),
        threads=int(fields["Threads"]),
    )


class MachineTime:
    """How much of all processors was used since this was made, by everything."""

    def __init__(self) -> None:
        self._idle_s, self._all_s = _processor_seconds()

    def busy_share(self) -> float:
        """Return the share, from 0 to 1."""
        idle_s, all_s = _processor_seconds()
        return 1 - (idle_s - self._idle_s) / (all_s - self._all_s)


def _processor_seconds() -> tuple[float, float]:
    """Return what all processors were idle, and how long they have been there."""
    times = psutil.cpu_times()
    # What guests take is part of the time of users.
    guests_s = times.guest + times.guest_nice
    return times.idle + times.iowait, sum(times) - guests_s


def _range(numbers: Sequence[int]) -> str:
    least, most = min(numbers), max(numbers)
    return str(least) if least == most else f"{least} to {most}"
