"""Clients of the API that store jobs all the time and check what they are told."""

from __future__ import annotations

import http.client
import random
import re
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from flask_forge_jobs import NewJob, Storage
from flask_forge_jobs.model.payloads import dump
from tests.acceptance.application import KIND, MAX_ATTEMPTS
from tests.acceptance.failover.answers import ASK_AGAIN_S, Answers, store_by_id
from tests.acceptance.failover.caller import Caller
from tests.acceptance.ledger import Ack
from tests.support.client import Answer, Request, post_json, send

# Each of its jobs has a number of its own, which no producer in Python uses.
NUMBERS_A_CLIENT = 1_000_000
# Told without harm: not stored, and when to ask again.
REFUSALS = (409, 503)
_UNKNOWN = re.compile(r"job (\w+) may or may not be stored")


class HttpClient(Caller):
    """Stores one job after the other through ``POST``, whatever it takes.

    Half of the requests carry an ``Idempotency-Key`` and are repeated with it. Without
    one a refused request is sent again as it is, which stores a second job if the
    refusal was untrue, and a job whose outcome is unknown is stored again under its id.
    """

    pause_s = 0.2

    def __init__(
        self, number: int, port: int, storage: Storage, source: random.Random
    ) -> None:
        super().__init__(f"client-{number}", storage, source)
        self.acks: list[Ack] = []
        self.answers = Answers()
        self.statuses: Counter[str] = Counter()
        self._next = number * NUMBERS_A_CLIENT
        self._port = port

    def call(self) -> None:
        """Store one job."""
        self._next += 1
        self.acks.append(Ack(self._store(self._next)))

    def _store(self, number: int) -> str:
        payload = self.payload(number)
        request = post_json(
            "/jobs/enqueue",
            {"kind": KIND, "payload": payload, "max_attempts": MAX_ATTEMPTS},
        )
        has_key = self.source.random() < 0.5
        if has_key:
            key = {"Idempotency-Key": f"{self.name}-{number}"}
            request = replace(request, headers={**request.headers, **key})
        while (answer := self._ask(request)) is None or answer.status != 200:
            unknown = self._check(answer) if answer else None
            if unknown and not has_key:
                job = NewJob(KIND, dump(payload), max_attempts=MAX_ATTEMPTS)
                return store_by_id(self.storage, replace(job, job_id=unknown)).id
            threading.Event().wait(ASK_AGAIN_S)
        self.statuses["200"] += 1
        return str(answer.json())

    def _ask(self, request: Request) -> Answer | None:
        try:
            return self.answers.taken_down(
                lambda: send(self._port, request), lambda answer: answer.status == 200
            )
        except (OSError, http.client.HTTPException) as error:
            self.complaints.append(f"no answer: {error!r}")
            return None

    def _check(self, answer: Answer) -> str | None:
        """Check a refusal; return the id of a job whose outcome is unknown."""
        if answer.status not in REFUSALS:
            self.complaints.append(f"answered {answer.status}: {answer.body[:200]!r}")
            return None
        if not answer.headers.get("Retry-After", "").isdigit():
            self.complaints.append(f"a {answer.status} without Retry-After")
        message = answer.json()["msg"]
        found = _UNKNOWN.search(message)
        if found is None and "answer was lost" in message:
            self.complaints.append(f"an unknown outcome without its id: {message}")
        self.statuses["unknown" if found else str(answer.status)] += 1
        return found[1] if found else None


def twice(numbers: Sequence[int]) -> int:
    """Return how many jobs of clients are stored more than once."""
    counts = Counter(number for number in numbers if number >= NUMBERS_A_CLIENT)
    return sum(count - 1 for count in counts.values())
