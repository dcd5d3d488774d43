"""Worker processes under a parent, hit one by one or all at once.

A service manager ends the whole group: SIGTERM to every process at once, and after its
patience SIGKILL to what is left. A kernel out of memory takes any one of them.
"""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator

import psutil

from flask_forge_jobs.config.variables import CHILD_VARIABLE
from tests.acceptance.fleet import STOP_LIMIT_S, Fleet, Worker
from tests.acceptance.ledger import Kill
from tests.support.processes import is_alive
from tests.support.sql import Sql
from tests.support.waiting import wait_until

CHILDREN = 2
# How long a group that was told to stop is left alone.
PATIENCE_RANGE_S = (0.0, 1.0)


class Families:
    """Starts ``flask forge-jobs worker --processes`` and replaces killed ones."""

    def __init__(self, fleet: Fleet, sql: Sql) -> None:
        self.hits: Counter[str] = Counter()
        self._fleet = fleet
        self._sql = sql
        self._parents: list[Worker] = []
        # A child that is started again has the name of the one before.
        self._dead: set[str] = set()

    def start(self) -> None:
        """Start one more family."""
        self._parents.append(self._fleet.spawn("--processes", str(CHILDREN)))

    def names(self) -> set[str]:
        """Return under which names their processes are registered."""
        return {
            f"{parent.name}-{number}"
            for parent in self._parents
            for number in range(CHILDREN)
        }

    def hit(self, source: random.Random) -> list[Kill]:
        """Hit a random family in a random way; tell what its dead processes held."""
        parent = source.choice(self._parents)
        ways = (self._child, self._parent, self._stopped_group, self._group)
        way = source.choice(ways)
        kills = way(parent, source)
        self.hits[way.__name__.strip("_")] += 1
        if way != self._child:
            self._parents.remove(parent)
            self.start()
        return kills

    def _child(self, parent: Worker, source: random.Random) -> list[Kill]:
        """One child; its parent starts another."""
        names = _children(parent)
        if not names:  # all of them wait to be started again
            return []
        return self._kill(dict([source.choice(sorted(names.items()))]))

    def _parent(self, parent: Worker, _: random.Random) -> list[Kill]:
        """The parent alone; its children notice, finish their jobs and end."""
        names = _children(parent)
        parent.process.kill()
        parent.process.wait()
        wait_until(
            lambda: not any(map(is_alive, names)), "orphans have ended", STOP_LIMIT_S
        )
        return []

    def _stopped_group(self, parent: Worker, source: random.Random) -> list[Kill]:
        """All are told to stop, and what is left after a while is killed."""
        for pid in _members(parent):
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                psutil.Process(pid).send_signal(signal.SIGTERM)
        threading.Event().wait(source.uniform(*PATIENCE_RANGE_S))
        return self._group(parent, source)

    def _group(self, parent: Worker, _: random.Random) -> list[Kill]:
        """All at once."""
        names = _children(parent)
        kills = self._kill(names, first=[parent.process.pid], then=_members(parent))
        parent.process.wait()
        return kills

    def _kill(
        self, names: dict[int, str], first: Iterable[int] = (), then: Iterable[int] = ()
    ) -> list[Kill]:
        # From the top down: nobody is left to see somebody else die.
        pids = [*dict.fromkeys([*first, *names, *then])]
        for pid in pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()
        wait_until(lambda: not any(map(is_alive, pids)), "the killed are dead")
        at_ns = time.monotonic_ns()
        return [self._bury(pid, name, at_ns) for pid, name in names.items()]

    def _bury(self, pid: int, name: str, at_ns: int) -> Kill:
        rows = self._sql.run(
            "SELECT worker_id FROM forge_worker WHERE worker_name = ? "
            "ORDER BY worker_id DESC",
            name,
        )
        hosts = [worker_id for (worker_id,) in rows if worker_id not in self._dead]
        worker_id = hosts[0] if hosts else None
        self._dead.update(hosts)
        return Kill(pid, worker_id, at_ns, self._fleet.held_by(worker_id))

    def stop(self) -> list[str]:
        """Stop every family as an operator would; return all that went wrong."""
        complaints = []
        for parent in self._parents:
            children = _children(parent)
            parent.process.terminate()
            status = parent.process.wait(2 * STOP_LIMIT_S)
            if status != 0:
                complaints.append(f"family {parent.name} ended with status {status}")
            if any(map(is_alive, children)):
                complaints.append(f"children of {parent.name} have outlived it")
        self._parents.clear()
        return complaints

    def destroy(self) -> None:
        """Leave no process behind, whatever happened."""
        for parent in self._parents:
            self._kill(_children(parent), [parent.process.pid], _members(parent))
            parent.process.wait()


def _children(parent: Worker) -> dict[int, str]:
    """Return the living worker processes of a family: number and name of each."""
    found = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(parent.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                number = child.environ().get(CHILD_VARIABLE)
                if number is not None:  # else it has not become a worker yet
                    found[child.pid] = f"{parent.name}-{number}"
    return found


def _members(parent: Worker) -> list[int]:
    """Return all processes of a family, those that its tasks have forked too."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(parent.process.pid)
        return [process.pid, *(p.pid for p in process.children(recursive=True))]
    return []


@contextlib.contextmanager
def families(fleet: Fleet, sql: Sql, count: int) -> Iterator[Families]:
    """Run so many families beside a fleet."""
    found = Families(fleet, sql)
    try:
        for _ in range(count):
            found.start()
        yield found
    finally:
        found.destroy()
