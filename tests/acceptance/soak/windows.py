"""The windows of a soak: how long jobs took in each, at what rate and load."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median

from tests.acceptance.soak.pace import Pulse, mean_of
from tests.acceptance.soak.watch import percentile_ms

MAX_CHANGE = 1.2


@dataclass(frozen=True, slots=True)
class Window:
    """Some minutes of a soak.

    Args:
        half_ms: p50 from stored to done, in milliseconds; NaN if no job was timed.
        most_ms: p99, likewise.
        pulse: The mean rate and load; None if there was no look at them.
    """

    half_ms: float
    most_ms: float
    pulse: Pulse | None = None


def windows_of(
    timed: Sequence[tuple[float, array[int]]],
    pulses: Sequence[Pulse],
    window_s: float,
    count: int,
) -> list[Window]:
    """Return the windows that are whole.

    Args:
        timed: When each look was, and the microseconds that its jobs took.
        pulses: The machine's, in order of time.
        window_s: Length of one, in seconds; the first begins with the first look.
        count: How many are whole.
    """
    if not timed:
        return []
    began_at = timed[0][0]
    windows = []
    for number in range(count):
        begins_at = began_at + number * window_s
        looks = [each for at, each in timed if 0 <= at - begins_at < window_s]
        some = [each for each in pulses if 0 <= each.at_s - begins_at < window_s]
        times = sorted(chain.from_iterable(looks))
        windows.append(
            Window(
                percentile_ms(times, 0.5),
                percentile_ms(times, 0.99),
                mean_of(some) if some else None,
            )
        )
    return windows


def text_of(windows: Sequence[Window], warm_up: int = 1) -> str:
    """Return the windows as lines of the report; arguments as for the complaints."""
    before, after = _medians(windows[warm_up:], lambda each: each.most_ms)
    lines = [
        "from stored to done, p50 and p99 in ms: "
        + "; ".join(f"{each.half_ms:.1f} {each.most_ms:.1f}" for each in windows),
        f"p99, median of the first third and of the last: {before:.1f} {after:.1f}",
    ]
    pulses = [each.pulse for each in windows if each.pulse is not None]
    if pulses:
        lines.append(
            "jobs a second, share of the processors, ms of the loop: "
            + "; ".join(
                f"{each.rate:.0f} {each.busy:.0%} {each.loop_ms:.2f}" for each in pulses
            )
        )
    return "\n".join(lines)


def complaints_of(windows: Sequence[Window], warm_up: int = 1) -> list[str]:
    """Return what is not flat.

    The first third is compared with the last, each by its median: windows in which the
    machine had something else to do say nothing, in either of them.

    Args:
        windows: In order of time; many short ones say more than a few long ones, since
            the slowest hundredth of ten minutes may all be in one second of them.
        warm_up: How many of them warm up and are not compared.
    """
    if not windows:
        return ["no job was timed"]
    complaints = [
        f"no job was timed in window {number}"
        for number, each in enumerate(windows, 1)
        if math.isnan(each.half_ms)
    ]
    # A comparison with what is not a number is false.
    before, after = _medians(windows[warm_up:], lambda each: each.most_ms)
    if after > MAX_CHANGE * before:
        complaints.append("the last windows are slower than the first by over 20 %")
    paced = [each for each in windows[warm_up:] if each.pulse is not None]
    # The rate follows the load: what costs more and more shows as fewer jobs.
    before, after = _medians(paced, _efficiency)
    if before > MAX_CHANGE * after:
        complaints.append("a job costs over 20 % more than at first")
    return complaints


def _efficiency(window: Window) -> float:
    return math.nan if window.pulse is None else window.pulse.efficiency


def _medians(
    windows: Sequence[Window], number: Callable[[Window], float]
) -> tuple[float, float]:
    """Return the median of the first third and of the last one; NaN of too few."""
    numbers = [number(each) for each in windows]
    if len(numbers) < 2 or any(map(math.isnan, numbers)):
        return math.nan, math.nan
    third = math.ceil(len(numbers) / 3)
    return median(numbers[:third]), median(numbers[-third:])
