"""The configuration of Patroni, HAProxy and PgBouncer, as the manual recommends it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
NODES = ("n1", "n2", "n3")
ROLE = "app"
# Not a word of any other text, so that it is seen where it should not be.
PASSWORD = "Cl0uds-over-the-S3a"
# Patroni raises a shorter time to live to 20 s.
TTL_S, LOOP_WAIT_S, RETRY_TIMEOUT_S = 20, 2, 3


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens, on loopback."""

    etcd: int
    etcd_peer: int
    primary: int
    pooler: int
    servers: Mapping[str, int]
    checks: Mapping[str, int]


def patroni(node: str, ports: Ports, folder: Path, programs: Path) -> str:
    """Return Patroni's configuration of a node; JSON is YAML."""
    here = f"{HOST}:{ports.servers[node]}"
    rest = f"{HOST}:{ports.checks[node]}"
    owner = {"username": "postgres", "password": PASSWORD}
    replicator = {"username": "replicator", "password": PASSWORD}
    document = {
        "scope": "forge",
        "name": node,
        "restapi": {"listen": rest, "connect_address": rest},
        "etcd3": {"host": f"{HOST}:{ports.etcd}"},
        "bootstrap": {
            "dcs": {
                "ttl": TTL_S,
                "loop_wait": LOOP_WAIT_S,
                "retry_timeout": RETRY_TIMEOUT_S,
                "synchronous_mode": True,
                "postgresql": {
                    "use_pg_rewind": True,
                    "parameters": {"max_connections": 200, "wal_log_hints": "on"},
                },
            },
            "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
        },
        "postgresql": {
            "listen": here,
            "connect_address": here,
            "data_dir": str(folder / node),
            "bin_dir": str(programs),
            "pgpass": str(folder / f"{node}.pgpass"),
            "authentication": {
                "superuser": owner, "rewind": owner, "replication": replicator,
            },
            "parameters": {
                "unix_socket_directories": str(folder),
                "shared_buffers": "64MB",
                "wal_keep_size": "256MB",
                "log_min_messages": "warning",
            },
            "pg_hba": [
                "local all all trust",
                f"host replication all {HOST}/32 scram-sha-256",
                f"host all all {HOST}/32 scram-sha-256",
            ],
        },
    }  # fmt: skip
    return json.dumps(document)


def haproxy(ports: Ports) -> str:
    """Return HAProxy's configuration: it asks Patroni which node is the primary."""
    nodes = "\n".join(
        f"  server {node} {HOST}:{ports.servers[node]} check port {ports.checks[node]}"
        for node in NODES
    )
    return f"""\
global
  maxconn 1000
defaults
  mode tcp
  retries 0
  timeout connect 4s
  timeout check 2s
  timeout client 30m
  timeout server 30m
listen primary
  bind {HOST}:{ports.primary}
  option httpchk OPTIONS /primary
  http-check expect status 200
  default-server inter 1s fall 3 rise 2 on-marked-down shutdown-sessions
{nodes}
"""


def pgbouncer(ports: Ports, users: Path) -> str:
    """Return PgBouncer's configuration, in transaction mode by way of HAProxy."""
    return f"""\
[databases]
* = host={HOST} port={ports.primary}
[pgbouncer]
listen_addr = {HOST}
listen_port = {ports.pooler}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = 40
max_client_conn = 400
server_login_retry = 1
server_connect_timeout = 3
log_connections = 0
log_disconnections = 0
"""
