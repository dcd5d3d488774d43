"""What is true meanwhile: which node takes writes, what goes through, what is said."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2

from tests.acceptance.checker import SECOND_NS
from tests.acceptance.patroni.cluster import PatroniCluster
from tests.acceptance.patroni.settings import NODES
from tests.support.client import Request, send

PERIOD_S = 0.5
NODE_PERIOD_S = 0.1
# A pooler keeps a write for as long as it takes; that is not "goes through". A frozen
# host that comes first costs its time-out of 2 s.
SLOW_NS = 5 * SECOND_NS
HEALTH, READY, OVERVIEW = "/health", "/v1/health/ready", "/queue/overview"
BEATS = "CREATE TABLE beat (at BIGINT)"
_STEADY = 4
_OK = 200


@dataclass(frozen=True, slots=True)
class Call:
    """A call of somebody who looks on; times are monotonic nanoseconds."""

    began_ns: int
    ended_ns: int
    is_good: bool

    @property
    def took_s(self) -> float:
        """How long it took."""
        return (self.ended_ns - self.began_ns) / SECOND_NS

    @property
    def goes_through(self) -> bool:
        """Whether it succeeded in time."""
        return self.is_good and self.ended_ns - self.began_ns < SLOW_NS


class NodeWatch(threading.Thread):
    """Notes when each node begins to take writes."""

    def __init__(self, cluster: PatroniCluster) -> None:
        super().__init__(name="nodes", daemon=True)
        self.began_ns: dict[str, list[int]] = {node: [] for node in NODES}
        self._cluster = cluster
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=[node], daemon=True)
            for node in NODES
        ]

    def run(self) -> None:
        """Watch until told to stop."""
        for each in self._threads:
            each.start()
        for each in self._threads:
            each.join()

    def _watch(self, node: str) -> None:
        was_primary = False
        while not self._stopping.wait(NODE_PERIOD_S):
            is_primary = self._cluster.takes_writes(node)
            if is_primary and not was_primary:
                self.began_ns[node].append(time.monotonic_ns())
            was_primary = is_primary

    def promotion_ns(self, since_ns: int, lost: str) -> int | None:
        """Return when another node than the lost one took over, or None."""
        found = [
            at_ns
            for node, times in self.began_ns.items()
            for at_ns in times
            if at_ns > since_ns and node != lost
        ]
        return min(found, default=None)

    def stop(self) -> None:
        """End."""
        self._stopping.set()


@dataclass
class WayWatch:
    """Writes by one way, and asks its API, twice a second; nothing waits for a call."""

    url: str
    port: int
    writes: list[Call] = field(default_factory=list)
    answers: dict[str, list[Call]] = field(default_factory=dict)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Begin."""
        self.answers = {path: [] for path in (HEALTH, READY, OVERVIEW)}
        self._go(self._look_on)

    def _go(self, work: Callable[..., None], *given: str) -> None:
        thread = threading.Thread(target=work, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _look_on(self) -> None:
        while not self._stopping.wait(PERIOD_S):
            self._go(self._write)
            for path in self.answers:
                self._go(self._ask, path)

    def _write(self) -> None:
        began_ns, is_good = time.monotonic_ns(), False
        with contextlib.suppress(psycopg2.Error):
            connection = psycopg2.connect(self.url)
            connection.cursor().execute("INSERT INTO beat VALUES (%s)", [began_ns])
            connection.commit()
            connection.close()
            is_good = True
        self.writes.append(Call(began_ns, time.monotonic_ns(), is_good))

    def _ask(self, path: str) -> None:
        began_ns, is_good = time.monotonic_ns(), False
        with contextlib.suppress(OSError, http.client.HTTPException):
            is_good = send(self.port, Request("GET", path)).status == _OK
        self.answers[path].append(Call(began_ns, time.monotonic_ns(), is_good))

    def is_back(self, since_ns: int) -> bool:
        """Whether the last few writes have gone through."""
        late = [each for each in list(self.writes) if each.began_ns > since_ns]
        last = sorted(late, key=lambda each: each.began_ns)[-_STEADY:]
        return len(last) == _STEADY and all(each.goes_through for each in last)

    def stop(self, limit_s: float) -> None:
        """End, and wait for the calls that are under way."""
        self._stopping.set()
        ends_at = time.monotonic() + limit_s
        for thread in list(self._threads):
            thread.join(max(ends_at - time.monotonic(), 0.0))

    def save(self, path: Path, since_ns: int) -> None:
        """Write down every call: its path, when it began, how long it took, success."""
        rows = [
            (name, (each.began_ns - since_ns) / SECOND_NS, each.took_s, each.is_good)
            for name, calls in {"write": self.writes, **self.answers}.items()
            for each in calls
        ]
        path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")

    def back_ns(self, since_ns: int) -> int | None:
        """Return when writes went through again; None if they always did."""
        writes = [each for each in self.writes if each.ended_ns > since_ns]
        bad = [each.began_ns for each in writes if not each.goes_through]
        if not bad:
            return None
        good = [
            each.ended_ns
            for each in writes
            if each.goes_through and each.began_ns > max(bad)
        ]
        return min(good, default=None)

    def longest_s(self, path: str, since_ns: int) -> float:
        """Return how long the longest answer took, in seconds.

        A server process imports and opens a lot at its first requests, so those before
        the event do not count.
        """
        late = [each for each in self.answers[path] if each.ended_ns > since_ns]
        return max((each.took_s for each in late), default=math.inf)

    def lies(self, stored: Sequence[Call]) -> Sequence[Call]:
        """Return the answers "ready" while no write went through.

        Not even one of those that callers ``stored``: a plain write begins with the
        first host, also while that is a primary of old whose commits wait.
        """
        writes = [*self.writes, *stored]
        return [
            each
            for each in self.answers[READY]
            if each.is_good and not any(self._beside(each, writes))
        ]

    @staticmethod
    def _beside(answer: Call, writes: Sequence[Call]) -> list[bool]:
        around = [
            write.goes_through
            for write in writes
            if answer.began_ns - SECOND_NS < write.began_ns
            and write.began_ns < answer.ended_ns + SECOND_NS // 2
        ]
        return around or [True]
