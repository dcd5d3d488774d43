"""Heartbeat ages: how long each heartbeat has not moved, as one worker sees it.

It is measured on the monotonic clock of the observer, so a jump of a wall clock neither
kills a live job nor keeps a dead one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class HeartbeatAges(Generic[K]):
    """How long each heartbeat has not moved."""

    def __init__(self) -> None:
        self._seen: dict[K, tuple[object, float]] = {}

    def observe(
        self,
        heartbeats: Iterable[tuple[K, object]],
        elapsed_s: float,
        ages_s: Mapping[K, float] = MappingProxyType({}),
    ) -> None:
        """Record the current heartbeats, by key.

        ``elapsed_s`` is the time since the last call that counts; ``ages_s`` the age of
        heartbeats that are new, by default 0.
        """
        now: dict[K, tuple[object, float]] = {}
        for key, heartbeat in heartbeats:
            if key not in self._seen:
                now[key] = (heartbeat, ages_s.get(key, 0.0))
                continue
            before, age_s = self._seen[key]
            now[key] = (heartbeat, age_s + elapsed_s if before == heartbeat else 0.0)
        self._seen = now

    def older_than(self, limit_s: float) -> list[K]:
        """Return the keys whose heartbeat has not moved for ``limit_s`` seconds."""
        return [key for key, (_, age_s) in self._seen.items() if age_s >= limit_s]


class Intervals:
    """The time between two looks at the heartbeats, as far as it counts as silence.

    It counts up to this process's last write, the monotonic time that ``written_until``
    returns: a lock that blocks this process, or a full disk that refuses one of its
    writes, may keep the others from beating, too. Nothing counts after an error, nor of
    an interval over ``longest_s`` seconds: a process that was suspended or cut off
    itself has not been watching.
    """

    def __init__(self, written_until: Callable[[], float], longest_s: float) -> None:
        self._written_until = written_until
        self._longest_s = longest_s
        self._counted_until: float | None = None

    @contextlib.contextmanager
    def next(self) -> Iterator[float]:
        """Look within the block, which gets the seconds since the last look."""
        # Taken before the look: until here, each heartbeat could move.
        until = self._written_until()
        last, self._counted_until = self._counted_until, None  # stays None on an error
        elapsed_s = 0.0 if last is None else max(until - last, 0.0)
        yield 0.0 if elapsed_s > self._longest_s else elapsed_s
        self._counted_until = until
