"""What every contender is measured with: the stopwatch, the pace, the percentiles."""

from __future__ import annotations

import inspect
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

NS_PER_MS = 1_000_000
# What a job carries that is sent before the measurement starts.
UNTIMED = 0
_SPIN_S = 0.0005


class Watch:
    """Sees what a worker does, whatever its make."""

    def __init__(self, expected: int) -> None:
        self.pickup_ms: list[float] = []
        self._expected = expected
        self._lock = threading.Lock()
        self._claimed_at: float | None = None
        self._stored_at = 0.0
        self._stored_count = 0
        self._started_count = 0
        self._all_stored = threading.Event()
        self._all_started = threading.Event()

    def claims(self) -> None:
        """Note that a worker is about to ask for jobs; the first time counts."""
        if self._claimed_at is None:
            self._claimed_at = time.monotonic()

    def stored(self, count: int) -> None:
        """Note that so many more jobs are finished for good; the last time counts."""
        now = time.monotonic()
        with self._lock:
            self._stored_at = max(self._stored_at, now)
            self._stored_count += count
            if self._stored_count >= self._expected:
                self._all_stored.set()

    def started(self, sent_ns: int) -> None:
        """Note that a job has started.

        Args:
            sent_ns: What :func:`sent_now` returned just before it was enqueued, or
                ``UNTIMED``.
        """
        now_ns = time.monotonic_ns()
        with self._lock:
            if sent_ns != UNTIMED:
                self.pickup_ms.append((now_ns - sent_ns) / NS_PER_MS)
            self._started_count += 1
            if self._started_count >= self._expected:
                self._all_started.set()

    def drain_s(self, limit_s: float) -> float:
        """Return the seconds from the first claim to the last stored finish.

        Raises:
            TimeoutError: Not every job was finished within ``limit_s`` seconds.
        """
        stored_at = self.all_stored_at(limit_s)
        return math.nan if self._claimed_at is None else stored_at - self._claimed_at

    def all_stored_at(self, limit_s: float) -> float:
        """Return the time of the last stored finish on the monotonic clock.

        Raises:
            TimeoutError: Not every job was finished within ``limit_s`` seconds.
        """
        if not self._all_stored.wait(limit_s):
            raise TimeoutError(
                f"{self._stored_count} of {self._expected} jobs after {limit_s:g} s"
            )
        return self._stored_at

    def wait_for_starts(self, limit_s: float) -> None:
        """Wait until every job has started, or for ``limit_s`` seconds."""
        self._all_started.wait(limit_s)


class Waits:
    """How long each call took of several callers that store one job after the other."""

    def __init__(self) -> None:
        self.began: list[float] = []
        self.ended: list[float] = []
        self.ms: list[float] = []

    def moments(self, count: int) -> Iterator[bool]:
        """Yield so many moments, none to be timed by a worker, for one caller."""
        mine: list[float] = []
        before = time.monotonic()
        self.began.append(before)
        for _ in range(count):
            yield False
            now = time.monotonic()
            mine.append((now - before) * 1000)
            before = now
        self.ended.append(before)
        self.ms += mine

    def figures(self) -> dict[str, float]:
        """Return the rate of all callers, and percentiles of the waits."""
        took_s = max(self.ended) - min(self.began)
        return {
            "rate": len(self.ms) / took_s,
            "p50": percentile(self.ms, 50),
            "max": percentile(self.ms, 100),
        }


def sent_now() -> int:
    """Return the time on a clock that all processes of a host share, in ns."""
    return time.monotonic_ns()


def paced(rate_hz: float, untimed_count: int, timed_count: int) -> Iterator[bool]:
    """Yield at the pace of ``rate_hz``; whether what is sent now is to be timed.

    A late answer does not delay what comes after it, so a slow contender gets no
    easier load.
    """
    begun = time.perf_counter()
    for number in range(untimed_count + timed_count):
        due = begun + number / rate_hz
        while (left := due - time.perf_counter()) > 0:
            time.sleep(left if left > _SPIN_S else 0)
        yield number >= untimed_count


def observe(
    owner: object,
    method: str,
    *,
    before: Callable[[], None] | None = None,
    after: Callable[[tuple[Any, ...], Any], None] | None = None,
) -> None:
    """Call back around a method of one object, plain or ``async``.

    Args:
        owner: The object; others of its class are left alone.
        method: Name of the method.
        before: Called before each call.
        after: Called with the positional arguments and the result of each call.
    """
    original = getattr(owner, method)

    def begin() -> None:
        if before is not None:
            before()

    def end(args: tuple[Any, ...], result: object) -> None:
        if after is not None:
            after(args, result)

    def plain(*args: Any, **kwargs: Any) -> Any:
        begin()
        result = original(*args, **kwargs)
        end(args, result)
        return result

    async def asynchronous(*args: Any, **kwargs: Any) -> Any:
        begin()
        result = await original(*args, **kwargs)
        end(args, result)
        return result

    is_async = inspect.iscoroutinefunction(original)
    setattr(owner, method, asynchronous if is_async else plain)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent do not exceed; NaN of none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def seconds(work: Callable[[], None]) -> float:
    """Return how long a call takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
