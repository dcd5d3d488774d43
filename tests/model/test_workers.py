from __future__ import annotations

import dataclasses
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.model.queues import MAX_WORKERS_RANGE
from flask_forge_jobs.model.workers import (
    MAX_SLOTS_PER_WORKER,
    Slot,
    SlotReport,
    Worker,
    shares,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HOSTS = ("a", "b", "c")


@pytest.mark.parametrize(
    "record",
    [
        Slot("mail-0-H-1", "mail", "H", NOW, NOW),
        Worker("H", None, ("mail",), NOW),
        SlotReport("mail-0-H-1", "mail"),
    ],
    ids=type,
)
def test_records_do_not_change_and_compare_by_value(record: object) -> None:
    assert record == dataclasses.replace(record)  # type: ignore[type-var]  # dataclasses
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, dataclasses.fields(record)[0].name, "x")  # type: ignore[arg-type]  # dataclasses


def test_an_idle_slot_has_no_job() -> None:
    assert Slot("mail-0-H-1", "mail", "H", NOW, NOW).current_job_id is None
    assert SlotReport("mail-0-H-1", "mail").current_job_id is None


def of(queue: str, found: dict[tuple[str, str], int]) -> list[int]:
    return sorted((n for (name, _), n in found.items() if name == queue), reverse=True)


@pytest.mark.parametrize(
    ("total", "hosts", "expected"),
    [
        (10, 3, [4, 3, 3]),
        (9, 2, [5, 4]),
        (3, 3, [1, 1, 1]),
        (1, 3, [1, 0, 0]),
        (0, 3, [0, 0, 0]),
        (10, 1, [10]),
        (10, 0, []),
        (1024, 1, [64]),
        (1024, 32, [32] * 32),
        (130, 2, [64, 64]),
    ],
)
def test_a_total_is_split_evenly(total: int, hosts: int, expected: list[int]) -> None:
    """splits_total_across_eligible_pods, fair_shares_distributes_remainder_to_leaders,

    fair_shares_zero_pods_is_empty, redistributes_when_a_pod_goes_stale
    """
    found = shares({"q": total}, {f"h{number}": ["q"] for number in range(hosts)})

    assert of("q", found) == expected


def test_only_who_declared_a_queue_gets_workers_of_it() -> None:
    """only_pods_that_declared_the_queue_get_slots, legacy_empty_queue_pod_…"""
    found = shares(
        {"mail": 4, "lost": 5}, {"a": ["mail"], "b": ["other", "mail"], "c": ["other"]}
    )
    assert found == {("mail", "a"): 2, ("mail", "b"): 2}

    found = shares({"mail": 4}, {"a": ["mail"], "b": []})
    assert found == {("mail", "a"): 2, ("mail", "b"): 2}


def test_small_queues_spread_over_the_processes() -> None:
    """The reference gives 10, 0, 0."""
    found = shares({f"q{number}": 1 for number in range(10)}, dict.fromkeys(HOSTS, ()))

    load = Counter[str]()
    for (_, host), count in found.items():
        load[host] += count
    assert sorted(load.values()) == [3, 3, 4]


def test_the_first_of_a_single_queue_depends_on_its_name() -> None:
    first = Counter(
        host
        for number in range(300)
        for (_, host), share in shares(
            {f"q{number}": 1}, dict.fromkeys(HOSTS, ())
        ).items()
        if share
    )

    assert all(first[host] > 50 for host in HOSTS)


totals = st.dictionaries(
    st.text("abc", min_size=1, max_size=3), st.integers(*MAX_WORKERS_RANGE), max_size=8
)
processes = st.dictionaries(
    st.text("xyz", min_size=1, max_size=3),
    st.lists(st.text("abc", min_size=1, max_size=3), max_size=4),
    max_size=6,
)


@given(totals, processes)
def test_nothing_is_lost_and_nobody_is_favoured(
    total_of: dict[str, int], names_of: dict[str, list[str]]
) -> None:
    """fair_shares_conserves_the_total"""
    found = shares(total_of, names_of)

    # Everybody comes to the same, in whatever order the database names things.
    assert found == shares(
        dict(reversed(total_of.items())), dict(reversed(names_of.items()))
    )
    for queue, total in total_of.items():
        hosts = [
            host for host, names in names_of.items() if not names or queue in names
        ]
        split = of(queue, found)
        assert len(split) == len(hosts)
        assert sum(split) == (
            min(total, MAX_SLOTS_PER_WORKER * len(hosts)) if hosts else 0
        )
        assert not split or split[0] - split[-1] <= 1
