"""Callers in Python that remember what they were told, to compare it with the rows."""

from __future__ import annotations

import contextlib
import random
import threading

import psycopg2

from flask_forge_jobs import NewJob, Storage
from flask_forge_jobs.errors import (
    ForgeJobsError,
    StorageBusyError,
    StorageOutcomeUnknownError,
    StorageUnavailableError,
)
from tests.acceptance.application import MAX_ATTEMPTS
from tests.acceptance.failover.answers import ASK_AGAIN_S, Answers, store_by_id
from tests.acceptance.failover.caller import Caller
from tests.acceptance.ledger import Ack

ORDER_PAUSE_S = 0.25
# Above those of producers and of clients of the API.
FIRST_NUMBER, FIRST_ORDER = 500_000_000, 700_000_000
ORDERS = "CREATE TABLE orders (number BIGINT PRIMARY KEY, job_id TEXT)"
_ORDER = "INSERT INTO orders (number) VALUES (%s)"
_NOTE_JOB = "UPDATE orders SET job_id = %s WHERE number = %s"


class SingleCaller(Caller):
    """Stores jobs one by one; each try has a number of its own."""

    def __init__(self, name: str, storage: Storage, source: random.Random) -> None:
        super().__init__(name, storage, source)
        self.acks: list[Ack] = []
        self.answers = Answers()
        # Of the tries that were told that nothing is stored.
        self.refused: set[int] = set()
        self.unknown = 0
        self._number = FIRST_NUMBER

    def call(self) -> None:
        """Store one job; after an unknown outcome under its id."""
        self._number += 1
        job = self.job(self._number)
        try:
            stored = self.answers.taken_down(
                lambda: self.storage.jobs.enqueue(job), bool
            )
        except StorageOutcomeUnknownError as error:
            self.unknown += 1
            again = self.job(self._number)
            again = NewJob(
                again.kind, again.payload, max_attempts=MAX_ATTEMPTS,
                job_id=error.job_ids[0],
            )  # fmt: skip
            stored = store_by_id(self.storage, again)
        except (StorageUnavailableError, StorageBusyError):
            self.refused.add(self._number)
            threading.Event().wait(ASK_AGAIN_S)
            return
        self.acks.append(Ack(stored.id))


class OrderCaller(Caller):
    """Stores an order and its job in one transaction of a connection of its own."""

    pause_s = ORDER_PAUSE_S

    def __init__(
        self, name: str, storage: Storage, source: random.Random, url: str
    ) -> None:
        super().__init__(name, storage, source)
        self.orders = 0
        self._url = url
        self._number = FIRST_ORDER
        self._connection: psycopg2.extensions.connection | None = None

    def call(self) -> None:
        """Store one order; whatever fails, both of it must be stored, or neither."""
        self._number += 1
        try:
            if self._connection is None:
                self._connection = psycopg2.connect(self._url)
            self._order(self._connection)
        except (psycopg2.Error, ForgeJobsError):
            if self._connection is not None:
                with contextlib.suppress(psycopg2.Error):
                    self._connection.close()
            self._connection = None

    def _order(self, connection: psycopg2.extensions.connection) -> None:
        cursor = connection.cursor()
        cursor.execute(_ORDER, [self._number])
        job = self.job(self._number)
        stored = self.storage.jobs.enqueue(job, connection=connection)
        cursor.execute(_NOTE_JOB, [stored.id, self._number])
        connection.commit()
        self.orders += 1
