"""Workers: their state, the jobs of their slots, and the jobs of lost workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from flask_forge_jobs.errors import WorkerNotFoundError
from flask_forge_jobs.handlers.cursors import from_text_cursor, to_text_cursor
from flask_forge_jobs.model.bounds import check_integer
from flask_forge_jobs.model.worker_details import (
    Burden,
    KnownWorker,
    QueueLoad,
    RescuedJob,
    SlotRun,
    WorkerState,
    WorkerUse,
)
from flask_forge_jobs.model.workers import capacity
from flask_forge_jobs.storage.base import Storage

MAX_WORKERS_A_PAGE = 100
DEFAULT_PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class WorkerDetail:
    """A worker with its jobs in the queues that the caller may see.

    ``use`` is its use of the machine lately; None without a sample, and for callers
    that may not see all its queues. ``rescued`` are the jobs that ran when it was lost.
    ``claimed`` is how many jobs it runs or has claimed ahead; 0 if uncounted.
    """

    worker: KnownWorker
    by_queue: Sequence[QueueLoad]
    running: Sequence[SlotRun]
    rescued: Sequence[RescuedJob]
    use: WorkerUse | None
    claimed: int = 0

    @property
    def slots(self) -> int:
        """The number of its slots."""
        return sum(queue.slots for queue in self.by_queue)

    @property
    def capacity(self) -> int:
        """How many of these jobs it runs at once: its queues share its threads."""
        return capacity(self.worker.threads, self.slots, len(self.running))

    @property
    def busy_slots(self) -> int:
        """How many of them are busy, as of the last report."""
        reported = sum(queue.busy_slots for queue in self.by_queue)
        return max(min(reported, self.capacity), len(self.running))

    @property
    def idle_slots(self) -> int:
        """The number of its slots that run no job."""
        return sum(queue.idle_slots for queue in self.by_queue)


@dataclass(frozen=True, slots=True)
class StateCounts:
    """How many workers are in each state."""

    live: int
    late: int
    lost: int


@dataclass(frozen=True, slots=True)
class WorkerPage:
    """Some workers, the last started first.

    ``counts`` and ``hosts`` are of all workers that the caller may see, not only of
    this page. ``is_whole`` is False if jobs are left out, because there are more than
    5,000.
    """

    rows: Sequence[WorkerDetail]
    counts: StateCounts
    hosts: Sequence[str]
    next_cursor: str | None
    is_whole: bool


def list_workers(
    storage: Storage,
    queue_names: Collection[str] | None = None,
    *,
    queue: str | None = None,
    state: str | None = None,
    hosts: Collection[str] = (),
    limit: int = DEFAULT_PAGE_SIZE,
    cursor: str | None = None,
) -> WorkerPage:
    """Return workers with their jobs, the last started first.

    Workers that stopped are left out. Lost ones stay for an hour.

    Args:
        storage: The stores.
        queue_names: Queues that the caller may see; None means all. It sees workers
            that serve one of them, and of these only what concerns them.
        queue: Only workers that serve this queue; None means any.
        state: Only workers that are ``live``, ``late`` or ``lost``; None means all.
        hosts: Only workers on these hosts; none means any.
        limit: 1 to 100.
        cursor: ``next_cursor`` of the page before.

    Raises:
        InvalidInputError: A value is out of bounds.
    """
    check_integer("limit", limit, 1, MAX_WORKERS_A_PAGE)
    chosen = None if state is None else WorkerState.parse(state, "state")
    binding = ["workers", state, queue, *sorted(hosts)]
    before = None if cursor is None else from_text_cursor(cursor, binding)
    visible = _visible(storage, queue_names)
    counts = Counter(worker.state for worker in visible)
    matching = [
        worker
        for worker in visible
        if (queue is None or queue in _seen(worker.queues, queue_names))
        and (chosen is None or worker.state is chosen)
        and (not hosts or worker.host in hosts)
        and (before is None or worker.worker_id < before)
    ]
    page = matching[:limit]
    has_more = len(matching) > limit
    burden = _burden(storage, page, queue_names)
    return WorkerPage(
        [_detail(worker, burden, queue_names) for worker in page],
        StateCounts(*(counts[each] for each in WorkerState)),
        sorted({worker.host for worker in visible if worker.host}),
        to_text_cursor(page[-1].worker_id, binding) if has_more else None,
        burden.is_whole,
    )


def get_worker(
    storage: Storage, worker_id: str, queue_names: Collection[str] | None = None
) -> WorkerDetail:
    """Return one worker, as :func:`list_workers` does.

    Raises:
        WorkerNotFoundError: It is not known, or serves none of the queues.
    """
    for worker in _visible(storage, queue_names):
        if worker.worker_id == worker_id:
            burden = _burden(storage, [worker], queue_names, counts_claimed=True)
            return _detail(worker, burden, queue_names)
    raise WorkerNotFoundError(worker_id)


def _visible(
    storage: Storage, queue_names: Collection[str] | None
) -> Sequence[KnownWorker]:
    workers = storage.worker_reader.known()
    if queue_names is None:
        return workers
    allowed = frozenset(queue_names)
    return [worker for worker in workers if not allowed.isdisjoint(worker.queues)]


def _burden(
    storage: Storage,
    workers: Sequence[KnownWorker],
    queue_names: Collection[str] | None,
    *,
    counts_claimed: bool = False,
) -> Burden:
    if not workers:
        return Burden({}, {}, {}, {}, is_whole=True)
    names = None if queue_names is None else sorted(queue_names)
    ids = [each.worker_id for each in workers]
    return storage.worker_reader.burden(ids, names, counts_claimed=counts_claimed)


def _detail(
    worker: KnownWorker, burden: Burden, queue_names: Collection[str] | None
) -> WorkerDetail:
    worker_id = worker.worker_id
    # CPU and memory of a process concern the jobs of all its queues.
    sees_all = queue_names is None or set(worker.queues) <= set(queue_names)
    loads = {load.queue_name: load for load in burden.loads.get(worker_id, ())}
    return WorkerDetail(
        worker,
        _queues(worker, loads, queue_names),
        burden.running.get(worker_id, ()),
        burden.rescued.get(worker_id, ()),
        burden.use.get(worker_id) if sees_all else None,
        burden.claimed.get(worker_id, 0),
    )


def _queues(
    worker: KnownWorker,
    loads: Mapping[str, QueueLoad],
    queue_names: Collection[str] | None,
) -> list[QueueLoad]:
    """Return the queues of a worker; paused ones have no slots."""
    names = dict.fromkeys([*_seen(worker.queues, queue_names), *loads])
    return [loads.get(name) or QueueLoad(name, 0, 0) for name in names]


def _seen(names: Sequence[str], queue_names: Collection[str] | None) -> Sequence[str]:
    return [name for name in names if queue_names is None or name in queue_names]
