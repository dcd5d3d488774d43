"""A simulation of producers, a PostgreSQL server and workers, by what a step costs.

A process of the simulation is a generator. It yields seconds to let pass, or a
:class:`Gate` to wait for. The server's processors and each Python process serve in
turn; commits that wait while the log is flushed share the next flush.
"""

from __future__ import annotations

import heapq
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from tests.benchmarks.measure import percentile

# As of the dispatcher: jobs of one exchange, and jobs in hand.
EXCHANGE, AHEAD = 512, 1024
# How long a thread of Python waits for others that compute.
SWITCH_S = sys.getswitchinterval()


@dataclass(frozen=True)
class Costs:
    """Seconds of a processor, seconds of the log, and bytes of it."""

    enqueue_server_call: float
    enqueue_server_job: float
    enqueue_client_call: float
    enqueue_client_job: float
    exchange_server_call: float
    exchange_server_job: float
    worker_call: float
    worker_job: float
    flush: float
    log_call: float
    log_job: float
    log_run: float


@dataclass(frozen=True)
class Load:
    """Producers of ``batch`` jobs a call, and workers.

    ``rate`` is the jobs a second of all producers; 0 lets each call follow the last.
    ``stored`` jobs wait from the start. ``is_one_process`` puts all of them into one
    Python process, and ``is_one_host`` all processes on the server's processors.
    """

    cores: int = 2
    producers: int = 1
    batch: int = 1
    rate: float = 0.0
    workers: int = 0
    stored: int = 0
    seconds: float = 5.0
    is_one_process: bool = False
    is_one_host: bool = False


@dataclass
class Outcome:
    """The results, per second of the simulated time."""

    enqueued: float = 0.0
    done: float = 0.0
    server_cores: float = 0.0
    python_cores: float = 0.0
    flushes: float = 0.0
    log_bytes: float = 0.0
    waiting: int = 0
    pickups_s: list[float] = field(default_factory=list)

    def pickup_ms(self, percent: float) -> float:
        """Return a percentile of the time from the call to the start of the job."""
        return percentile(self.pickups_s, percent) * 1000


class Gate:
    """What processes wait for."""

    def __init__(self) -> None:
        self.waiting: list[Iterator[float | Gate]] = []


Process = Iterator[float | Gate]


class Loop:
    """Runs processes in the order of their times."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Process]] = []
        self._order = count()

    def spawn(self, process: Process, after: float = 0.0) -> None:
        """Let a process begin, or go on."""
        heapq.heappush(self._due, (self.now + after, next(self._order), process))

    def open(self, gate: Gate) -> None:
        """Let those go on that wait at a gate."""
        waiting, gate.waiting = gate.waiting, []
        for process in waiting:
            self.spawn(process)

    def run(self, until: float) -> None:
        """Run until a time."""
        while self._due and self._due[0][0] <= until:
            self.now, _, process = heapq.heappop(self._due)
            wanted = next(process, None)
            if isinstance(wanted, Gate):
                wanted.waiting.append(process)
            elif wanted is not None:
                self.spawn(process, wanted)


class Cores:
    """Processors that serve in turn; ``host`` are those that they need as well."""

    def __init__(self, loop: Loop, number: int, host: Cores | None = None) -> None:
        self._loop, self._free, self._host = loop, number, host
        self._queue: deque[Gate] = deque()
        self.busy_s = 0.0

    def use(self, seconds: float) -> Process:
        """Take one for some time."""
        if self._free:
            self._free -= 1
        else:
            gate = Gate()
            self._queue.append(gate)
            yield gate
        if self._host is None:
            yield seconds
        else:
            yield from self._host.use(seconds)
        self.busy_s += seconds
        if self._queue:
            self._loop.open(self._queue.popleft())
        else:
            self._free += 1


class Log:
    """The log, whose flushes the commits that wait meanwhile share."""

    def __init__(self, loop: Loop, flush_s: float) -> None:
        self._loop, self._flush_s = loop, flush_s
        self._next = Gate()
        self._is_flushing = False
        self.flushes = 0

    def commit(self) -> Process:
        """Wait for a flush that begins from now on."""
        mine = self._next
        if not self._is_flushing:
            self._loop.spawn(self._flush())
            self._is_flushing = True
        yield mine

    def _flush(self) -> Process:
        while self._next.waiting or not self.flushes:
            ending, self._next = self._next, Gate()
            self.flushes += 1
            yield self._flush_s
            self._loop.open(ending)
            yield 0.0  # those that commit at once join the next one
        self._is_flushing = False


class Site:
    """The queue on its server, with what runs beside it."""

    def __init__(self, costs: Costs, load: Load) -> None:
        self._costs, self._load = costs, load
        self._loop = loop = Loop()
        self._server = Cores(loop, load.cores)
        self._log = Log(loop, costs.flush)
        self._pythons: list[Cores] = []
        self._shared = self._python() if load.is_one_process else None
        self._waiting: deque[float] = deque([0.0] * load.stored)
        self._is_new = Gate()
        self._out = Outcome()

    def _python(self) -> Cores:
        host = self._server if self._load.is_one_host else None
        cores = Cores(self._loop, 1, host)
        self._pythons.append(cores)
        return cores

    def outcome(self) -> Outcome:
        """Run it, and return the results."""
        load, loop, out = self._load, self._loop, self._out
        for number in range(load.producers):
            pause_s = load.producers * load.batch / load.rate if load.rate else 0.0
            own = self._shared or self._python()
            after = pause_s * number / load.producers
            loop.spawn(self._produce(own, pause_s), after)
        for _ in range(load.workers):
            own = self._shared or self._python()
            Worker(self, own).begin()
        loop.run(load.seconds)
        pythons_s = sum(each.busy_s for each in self._pythons)
        out.server_cores = self._server.busy_s / load.seconds
        if load.is_one_host:
            out.server_cores -= pythons_s / load.seconds
        out.python_cores = pythons_s / load.seconds
        out.flushes = self._log.flushes / load.seconds
        out.waiting = len(self._waiting)
        for name in ("enqueued", "done", "log_bytes"):
            setattr(out, name, getattr(out, name) / load.seconds)
        return out

    def _produce(self, python: Cores, pause_s: float) -> Process:
        costs, size, loop = self._costs, self._load.batch, self._loop
        due = loop.now
        while True:
            sent = loop.now
            client = costs.enqueue_client_call + size * costs.enqueue_client_job
            yield from python.use(client)
            server = costs.enqueue_server_call + size * costs.enqueue_server_job
            yield from self._server.use(server)
            yield from self._log.commit()
            self._out.enqueued += size
            self._out.log_bytes += costs.log_call + size * costs.log_job
            self._waiting.extend([sent] * size)
            loop.open(self._is_new)
            due += pause_s
            yield max(due - loop.now, 0.0)

    # -- for workers ---------------------------------------------------------------

    @property
    def costs(self) -> Costs:
        """What each step costs."""
        return self._costs

    @property
    def loop(self) -> Loop:
        """Runs the processes."""
        return self._loop

    @property
    def is_new(self) -> Gate:
        """Opens when jobs are stored."""
        return self._is_new

    def claim(self, most: int) -> list[float]:
        """Take jobs, by when they were sent."""
        number = min(most, len(self._waiting))
        return [self._waiting.popleft() for _ in range(number)]

    def exchange(self, jobs: float) -> Process:
        """Carry out an exchange on the server."""
        costs = self._costs
        yield from self._server.use(
            costs.exchange_server_call + jobs * costs.exchange_server_job
        )
        yield from self._log.commit()

    def note(self, ended: int, started_after_s: float | None = None) -> None:
        """Note ends, and a start."""
        self._out.done += ended
        self._out.log_bytes += ended * self._costs.log_run
        if started_after_s is not None:
            self._out.pickups_s.append(started_after_s)


class Worker:
    """One worker process with tasks that do nothing."""

    def __init__(self, site: Site, python: Cores) -> None:
        self._site, self._python = site, python
        self._ready: deque[float] = deque()
        self._ended = 0
        self._in_hand = 0
        self._has_ready, self._has_ended = Gate(), Gate()

    def begin(self) -> None:
        """Start its two threads."""
        for thread in (self._dispatch(), self._run(), self._listen()):
            self._site.loop.spawn(thread)

    def _listen(self) -> Process:
        while True:
            yield self._site.is_new
            self._site.loop.open(self._has_ended)

    def _turn_s(self) -> float:
        """Return how long the dispatcher waits for the interpreter."""
        return min(len(self._ready) * self._site.costs.worker_job, SWITCH_S)

    def _dispatch(self) -> Process:
        site = self._site
        while True:
            room = min(EXCHANGE, AHEAD - self._in_hand)
            # The next claim is sent while half of the jobs in hand are still to run.
            may_claim = len(self._ready) <= AHEAD // 2
            claimed = site.claim(room) if may_claim else []
            ended, self._ended = (
                min(self._ended, EXCHANGE),
                max(self._ended - EXCHANGE, 0),
            )
            if not claimed and not ended:
                yield self._has_ended
                yield self._turn_s()
                continue
            self._in_hand += len(claimed) - ended
            yield from self._python.use(site.costs.worker_call)
            yield from site.exchange((len(claimed) + ended) / 2)
            yield self._turn_s()
            site.note(ended)
            self._ready.extend(claimed)
            site.loop.open(self._has_ready)

    def _run(self) -> Process:
        site = self._site
        while True:
            if not self._ready:
                yield self._has_ready
                continue
            sent = self._ready.popleft()
            site.note(0, site.loop.now - sent)
            yield from self._python.use(site.costs.worker_job)
            self._ended += 1
            site.loop.open(self._has_ended)


def simulate(costs: Costs, load: Load) -> Outcome:
    """Return what comes of a load."""
    return Site(costs, load).outcome()
