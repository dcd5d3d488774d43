from __future__ import annotations

from datetime import timedelta

from flask_forge_jobs.handlers.queue_rates import queue_rates
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.storage.base import Storage
from tests.support.clocks import START_US
from tests.support.figures import PastProcess

START = from_micros(START_US)


def test_the_rates_are_those_of_the_last_hour(storage: Storage) -> None:
    past = PastProcess(storage)
    past.runs("mail", "send", [10] * 99)
    past.clock.move(3600)
    past.runs("mail", "send", [20] * 19 + [4000])
    past.clock.move(300)
    past.runs("mail", "pack", [20] * 10)
    now = from_micros(past.clock.now_us()) + timedelta(seconds=60)

    rates = queue_rates(storage, ["mail", "idle"], now=now)

    mail, idle = rates["mail"], rates["idle"]
    assert len(mail.completed) == len(idle.completed) == 12
    assert list(mail.completed[-2:]) == [20, 10]
    assert sum(mail.completed) == 30
    elapsed_s = 300 + now.timestamp() % 300
    assert mail.per_minute == 30 * 60 / elapsed_s
    assert mail.run_p95_ms is not None
    assert 19 <= mail.run_p95_ms <= 21
    assert (sum(idle.completed), idle.per_minute, idle.run_p95_ms) == (0, 0, None)
