"""``flask forge-jobs limits``; its entries are tested in ``test_local_api``."""

from __future__ import annotations

import pytest

from flask_forge_jobs.errors import RateLimitNotFoundError
from tests.cli.console import Console
from tests.support.jobs import OWNER, enqueue


def test_a_limit_is_set_listed_drained_and_deleted(console: Console) -> None:
    made = console.text("limits", "set", "mail", "--capacity", "5", "--refill", "0.001")
    head, full = console.text("limits", "list").splitlines()
    drained = console.text("limits", "drain", "mail")
    _, empty = console.text("limits", "list").splitlines()
    deleted = console.text("limits", "delete", "mail", "--yes")

    assert made == "limit mail: 5 tokens, 0.001 a second\n"
    assert head.split() == ["SCOPE", "TOKENS", "CAPACITY", "A", "SECOND", "REFILLED"]
    assert full.split()[:4] == ["mail", "5.0", "5", "0.001"]
    assert empty.split()[:2] == ["mail", "0.0"]
    assert (drained, deleted) == ("limit mail drained\n", "limit mail deleted\n")
    assert console.text("limits", "list") == "there is no rate limit\n"
    with pytest.raises(RateLimitNotFoundError):
        console.storage.rate_limits.take_turn("mail")
    assert "fail until it is made again" in console.text("limits", "delete", "--help")


def test_holders_stand_below_each_other(console: Console) -> None:
    jobs = [enqueue(console.storage, queue_name="mail") for _ in range(3)]
    for job in console.storage.jobs.claim("mail", OWNER, 2):
        assert console.storage.concurrency.acquire(job, OWNER, "a", 9)

    head, first, second = console.text("limits", "holders").splitlines()

    assert head.split() == ["KEY", "WAITING", "HOLDER", "KIND", "QUEUE", "SINCE"]
    assert first.split()[:5] == ["a", "0", jobs[0], "noop", "mail"]
    assert second.split()[:5] == ["-", "-", jobs[1], "noop", "mail"]


def test_bad_input_names_the_field(console: Console) -> None:
    bad = ("limits", "set", "mail", "--capacity", "0", "--refill", "1")

    assert "capacity" in console.refusal(*bad)
    assert "mail" in console.refusal("limits", "delete", "mail", "--yes")
    assert "mail" in console.refusal("limits", "drain", "mail")
