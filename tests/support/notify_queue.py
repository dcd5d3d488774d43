"""PostgreSQL's queue of notifications, filled until it takes no more."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg2

from tests.support.cluster import DATABASE, Cluster
from tests.support.waiting import wait_until

# The least that the server takes, in pages of 8 KiB; only since version 17 can it be
# set, before that the queue has 8 GiB.
PAGES = "64"


@contextlib.contextmanager
def full_queue(server: Cluster) -> Iterator[None]:
    """Let somebody listen who never hears, and tell him things until it is full."""
    with contextlib.closing(_connect(server)) as deaf:
        cursor = deaf.cursor()
        cursor.execute("LISTEN forge_jobs_wake")
        # What earlier ones have left goes with the question.
        cursor.execute("SELECT pg_notification_queue_usage()")
        cursor.execute("BEGIN; SELECT 1")
        with contextlib.closing(_connect(server)) as teller:
            while _could_tell(teller):
                pass
        yield
        pid = deaf.info.backend_pid
    wait_until(lambda: pid not in server.backends(), "whoever did not hear is gone")


def is_full(server: Cluster) -> bool:
    """Tell somebody something; return whether that is refused."""
    with contextlib.closing(_connect(server)) as teller:
        return not _could_tell(teller)


def _could_tell(teller: psycopg2.extensions.connection) -> bool:
    try:
        teller.cursor().execute("SELECT pg_notify('nobody', repeat('x', 7000))")
    except psycopg2.errors.ProgramLimitExceeded:
        return False
    return True


def _connect(server: Cluster) -> psycopg2.extensions.connection:
    connection = psycopg2.connect(host=server.host, user="postgres", dbname=DATABASE)
    connection.autocommit = True
    return connection
