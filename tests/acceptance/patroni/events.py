"""What befalls a cluster, each once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tests.acceptance.patroni.cluster import PatroniCluster
from tests.acceptance.patroni.packages import send

# Patroni keeps a primary that comes back within its time to live, 20 s.
SHORT_S, LONG_S = 15.0, 35.0
WITHOUT_ETCD_S = 20.0
WITHOUT_HAPROXY_S = 2.0
# By which PostgreSQL wakes up before Patroni could stop it.
PATRONI_LATE_S = 3.0
Undo = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Event:
    """One way to break a cluster.

    Args:
        name: What happens.
        act: Does it, for as long as it takes; returns what repairs it later.
        promotes: Whether another node becomes the primary.
    """

    name: str
    act: Callable[[PatroniCluster], Undo]
    promotes: bool = False


def _nothing() -> None:
    """Repair nothing."""


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def _kill(cluster: PatroniCluster) -> Undo:
    leader = cluster.leader()
    cluster.kill_node(leader)
    return lambda: cluster.start_node(leader)


def _freeze(cluster: PatroniCluster, node: str, seconds: float, late_s: float) -> Undo:
    pids = cluster.freeze(node)
    patroni = set(cluster.patroni_pids(node)) if late_s else set()
    _wait(seconds)
    send([pid for pid in pids if pid not in patroni], signal.SIGCONT)
    _wait(late_s)
    send(patroni, signal.SIGCONT)
    return _nothing


def _freeze_leader(seconds: float, late_s: float = 0.0) -> Callable[..., Undo]:
    return lambda cluster: _freeze(cluster, cluster.leader(), seconds, late_s)


def _switch_over(cluster: PatroniCluster) -> Undo:
    cluster.switch_over()
    return _nothing


def _lose_etcd(cluster: PatroniCluster) -> Undo:
    cluster.stop_etcd()
    _wait(WITHOUT_ETCD_S)
    cluster.start_etcd()
    return _nothing


def _restart_haproxy(cluster: PatroniCluster) -> Undo:
    cluster.kill_haproxy()
    _wait(WITHOUT_HAPROXY_S)
    cluster.start_haproxy()
    return _nothing


def _kill_standby(cluster: PatroniCluster) -> Undo:
    standby = cluster.standby()
    cluster.kill_node(standby)
    return lambda: cluster.start_node(standby)


def _crash(cluster: PatroniCluster) -> Undo:
    cluster.kill_server(cluster.leader())
    return _nothing


EVENTS = (
    Event("the primary is killed", _kill, promotes=True),
    Event(f"the primary freezes for {SHORT_S:g} s", _freeze_leader(SHORT_S)),
    Event(
        f"the primary freezes for {LONG_S:g} s", _freeze_leader(LONG_S), promotes=True
    ),
    Event(
        "the primary wakes up before Patroni",
        _freeze_leader(LONG_S, PATRONI_LATE_S),
        promotes=True,
    ),
    Event(
        f"the standby freezes for {LONG_S:g} s",
        lambda cluster: _freeze(cluster, cluster.standby(), LONG_S, 0.0),
    ),
    Event("a switchover", _switch_over, promotes=True),
    Event(f"no etcd for {WITHOUT_ETCD_S:g} s", _lose_etcd),
    Event("HAProxy restarts", _restart_haproxy),
    Event("the standby is killed", _kill_standby),
    Event("PostgreSQL crashes", _crash),
)
