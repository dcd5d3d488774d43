"""Ways to take a PostgreSQL server away for the time of a block."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import psutil

from tests.support.cluster import DATABASE, Cluster


@contextlib.contextmanager
def stopped(server: Cluster) -> Iterator[None]:
    """Without a goodbye, as after a power cut."""
    server.stop_at_once()
    yield
    server.start()


@contextlib.contextmanager
def killed(server: Cluster) -> Iterator[None]:
    """Its parent process only; the others end when they notice."""
    server.kill_postmaster()
    yield
    server.start()


@contextlib.contextmanager
def frozen(server: Cluster) -> Iterator[None]:
    """Alive and without an answer."""
    pid = server.pid
    parent = psutil.Process(pid)
    processes = [parent, *parent.children(recursive=True)]
    for process in processes:
        process.suspend()
    yield
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


@contextlib.contextmanager
def routed_to_a_standby(server: Cluster) -> Iterator[None]:
    """Led to a server that takes no writes, and back; sessions of it are not ended."""

    def route(value: str) -> None:
        with server.administrator() as cursor:
            cursor.execute(
                f"ALTER DATABASE {DATABASE} SET default_transaction_read_only = {value}"
            )

    route("on")
    server.terminate_all()
    yield
    route("off")


@contextlib.contextmanager
def without_its_standby(server: Cluster) -> Iterator[None]:
    """It answers reads and ends no commit, as when a synchronous standby is lost."""

    def set_standby(change: str) -> None:
        with server.administrator() as cursor:
            cursor.execute(f"ALTER SYSTEM {change}")
            cursor.execute("SELECT pg_reload_conf()")

    set_standby("SET synchronous_standby_names = 'lost'")
    yield
    set_standby("RESET synchronous_standby_names")


Away = Callable[[Cluster], contextlib.AbstractContextManager[None]]
