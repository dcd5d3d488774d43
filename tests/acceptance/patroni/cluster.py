"""Three nodes of Patroni, etcd, HAProxy and PgBouncer, to be broken at will."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2

from tests.acceptance.patroni.packages import (
    Programs,
    descendants,
    free_ports,
    program,
    send,
    server_programs,
)
from tests.acceptance.patroni.settings import (
    HOST,
    NODES,
    PASSWORD,
    ROLE,
    Ports,
    haproxy,
    patroni,
    pgbouncer,
)
from tests.support.waiting import wait_until

WAYS = ("haproxy", "hosts", "pgbouncer")
HEALTHY_LIMIT_S = 120.0
_LOOK_PERIOD_S = 0.5
_ANSWER_LIMIT_S = 2.0
_ROLES = ["leader", "replica", "sync_standby"]
_STATES = ["running", "streaming", "streaming"]


class PatroniCluster:
    """A cluster with its programs; everything listens on loopback only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        etcd, peer, primary, pooler, *others = free_ports(4 + 2 * len(NODES))
        self.ports = Ports(
            etcd=etcd,
            etcd_peer=peer,
            primary=primary,
            pooler=pooler,
            servers=dict(zip(NODES, others, strict=False)),
            checks=dict(zip(NODES, others[len(NODES) :], strict=True)),
        )
        self._programs = Programs(folder)

    def start(self) -> None:
        """Start everything and wait until it is healthy."""
        self.start_etcd()
        for node in NODES:
            text = patroni(node, self.ports, self._folder, server_programs())
            self._programs.write(f"{node}.yml", text)
            self.start_node(node)
        self.start_haproxy()
        users = self._programs.write("users.txt", f'"{ROLE}" "{PASSWORD}"\n')
        path = self._programs.write("pgbouncer.ini", pgbouncer(self.ports, users))
        self._programs.start("pgbouncer", program("pgbouncer"), str(path))
        self.wait_until_healthy()
        self.ask(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")

    def start_etcd(self) -> None:
        """Start etcd; without flushes, so that a busy disk costs no election."""
        client, peer = (
            f"http://{HOST}:{port}" for port in (self.ports.etcd, self.ports.etcd_peer)
        )
        options = {
            "name": "e1",
            "data-dir": str(self._folder / "etcd"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"e1={peer}",
            "log-level": "warn",
        }
        given = [f"--{name}={value}" for name, value in options.items()]
        self._programs.start("etcd", program("etcd"), "--unsafe-no-fsync", *given)

    def start_node(self, node: str) -> None:
        """Start Patroni, which starts PostgreSQL."""
        path = str(self._folder / f"{node}.yml")
        self._programs.start(node, program("patroni"), path)

    def start_haproxy(self) -> None:
        """Start HAProxy."""
        path = self._programs.write("haproxy.cfg", haproxy(self.ports))
        self._programs.start("haproxy", program("haproxy"), "-db", "-f", str(path))

    def close(self) -> None:
        """End everything; Patroni first, which stops PostgreSQL."""
        for node in NODES:
            send(self.pids(node), signal.SIGCONT)
        for name in (*NODES, "pgbouncer", "haproxy", "etcd"):
            self._programs.end(name)
        for node in NODES:
            send(self._server_pids(node), signal.SIGKILL)

    # -- looking -------------------------------------------------------------------

    def ask(
        self, statement: str, database: str = "postgres", node: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Run a statement as the superuser, on the primary by default."""
        port = self.ports.servers[node or self.leader()]
        connection = psycopg2.connect(
            host=str(self._folder), port=port, user="postgres", dbname=database,
            connect_timeout=3,
        )  # fmt: skip
        connection.autocommit = True
        with contextlib.closing(connection):
            cursor = connection.cursor()
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def create_database(self, name: str) -> None:
        """Create a database of the ordinary role, ready for a check of its indexes."""
        self.ask(f"CREATE DATABASE {name} OWNER {ROLE}")
        self.ask("CREATE EXTENSION amcheck", name)
        self.ask(f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {ROLE}", name)

    def members(self) -> dict[str, dict[str, Any]]:
        """Return what Patroni says of its nodes, by name."""
        for node in NODES:
            status, body = self._rest(node, "/cluster")
            if status == http.client.OK:
                return {each["name"]: each for each in json.loads(body)["members"]}
        return {}

    def find_leader(self) -> str | None:
        """Return the node that is the primary and holds the lock, if there is one."""
        for node in NODES:
            if self._rest(node, "/primary")[0] == http.client.OK:
                return node
        return None

    def leader(self) -> str:
        """Return the primary."""
        found = self.find_leader()
        assert found is not None, "the cluster has no primary"
        return found

    def standby(self) -> str:
        """Return the synchronous standby."""
        members = self.members().items()
        return next(n for n, each in members if each["role"] == "sync_standby")

    def takes_writes(self, node: str) -> bool:
        """Return whether a node answers as a primary."""
        try:
            return not self.ask("SELECT pg_is_in_recovery()", node=node)[0][0]
        except psycopg2.Error:
            return False

    def is_healthy(self) -> bool:
        """Whether there are a primary and two standbys, one of them synchronous."""
        members = list(self.members().values())
        roles = sorted(str(each.get("role")) for each in members)
        states = sorted(str(each.get("state")) for each in members)
        return roles == _ROLES and states == _STATES and self.find_leader() is not None

    def wait_until_healthy(self) -> None:
        """Wait for that."""
        wait_until(
            self.is_healthy, "the cluster is healthy", HEALTHY_LIMIT_S, _LOOK_PERIOD_S
        )

    def _rest(
        self,
        node: str,
        path: str,
        body: object = None,
        limit_s: float = _ANSWER_LIMIT_S,
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection(
            HOST, self.ports.checks[node], timeout=limit_s
        )
        try:
            text = None if body is None else json.dumps(body)
            connection.request("POST" if text else "GET", path, text)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def pids(self, node: str) -> list[int]:
        """Return the processes of a node, a parent before its children."""
        return [*self._programs.pids(node), *self._server_pids(node)]

    def _server_pids(self, node: str) -> list[int]:
        # PostgreSQL does not stay a child of Patroni.
        try:
            with (self._folder / node / "postmaster.pid").open() as file:
                pid = int(file.readline())
        except (OSError, ValueError):
            return []
        return [pid, *descendants(pid)] if Path(f"/proc/{pid}").exists() else []

    # -- breaking ------------------------------------------------------------------

    def kill_node(self, node: str) -> None:
        """Kill Patroni with PostgreSQL; alone, Patroni would start it again."""
        send(self.pids(node), signal.SIGKILL)
        self._programs.end(node, signal.SIGKILL)

    def kill_server(self, node: str) -> None:
        """Kill PostgreSQL only."""
        send(self._server_pids(node), signal.SIGKILL)

    def freeze(self, node: str) -> list[int]:
        """Stop every process of a node; return them."""
        pids = self.pids(node)
        send(pids, signal.SIGSTOP)
        late = set(self.pids(node)) - set(pids)
        send(late, signal.SIGSTOP)
        return [*pids, *late]

    def patroni_pids(self, node: str) -> list[int]:
        """Return the processes of Patroni alone."""
        server = set(self._server_pids(node))
        return [pid for pid in self._programs.pids(node) if pid not in server]

    def stop_etcd(self) -> None:
        """Stop etcd."""
        self._programs.end("etcd")

    def kill_haproxy(self) -> None:
        """Kill HAProxy."""
        self._programs.end("haproxy", signal.SIGKILL)

    def switch_over(self) -> None:
        """Ask Patroni to let the synchronous standby take over."""
        leader = self.leader()
        status, text = self._rest(leader, "/switchover", {"leader": leader}, 60.0)
        assert status == http.client.OK, f"switchover: {status} {text}"

    # -- ways in -------------------------------------------------------------------

    def url(self, way: str, database: str, first: str | None = None) -> str:
        """Return the address of a database; of several hosts ``first`` is the first."""
        nodes = sorted(NODES, key=lambda node: node != first)
        hosts = ",".join(f"{HOST}:{self.ports.servers[node]}" for node in nodes)
        where = {
            "hosts": hosts,
            "haproxy": f"{HOST}:{self.ports.primary}",
            "pgbouncer": f"{HOST}:{self.ports.pooler}",
        }[way]
        options = "?connect_timeout=2&target_session_attrs=read-write"
        return (
            f"postgresql://{ROLE}:{PASSWORD}@{where}/{database}"
            f"{options if way == 'hosts' else '?connect_timeout=5'}"
        )


@contextlib.contextmanager
def patroni_cluster(folder: Path) -> Iterator[PatroniCluster]:
    """Run a cluster in a folder."""
    folder.mkdir(mode=0o755)
    if os.geteuid() == 0:
        for parent in folder.parents:
            # The cluster's user must get through, as through /tmp.
            assert parent.stat().st_mode & 0o001, f"{parent} shuts others out"
    cluster = PatroniCluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()
