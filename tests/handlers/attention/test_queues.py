from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from flask_forge_jobs.handlers.attention import queues
from flask_forge_jobs.model.attention import DatabaseFacts, Facts, Need, QueueFacts
from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.model.sentences import Action
from tests.support.facts import AT, facts_of, live, said

TWO = QueueCounts(pending=2)
MAIL = QueueFacts("mail", 8, counts=TWO, oldest_wait_s=90, slots=8, busy_slots=8)


def one(needs: Iterable[Need]) -> Need:
    [need] = needs
    return need


def test_no_worker_at_all_is_one_sentence_for_all_queues() -> None:
    bills = replace(MAIL, name="bills", oldest_wait_s=4000)

    jobs, sentence = one(queues.unserved(facts_of(MAIL, bills)))

    assert jobs == 4
    assert sentence.code == "no_worker"
    assert sentence.text == ("No worker is running. 4 jobs wait, the oldest for 1h 6m.")
    assert sentence.evidence["command"] == (
        "flask forge-jobs worker --queues mail,bills"
    )


def test_without_jobs_or_with_paused_queues_nobody_is_needed() -> None:
    idle = replace(MAIL, counts=QueueCounts(scheduled=3, done=9))
    paused = replace(MAIL, is_paused=True)

    assert said(queues.unserved, facts_of(idle, paused)) == []
    assert said(queues.unserved, facts_of(idle, paused, live("bills"))) == []


def test_a_queue_that_no_live_worker_serves_names_the_last_one() -> None:
    lost = replace(live("mail"), id="W2", name="worker-2", silent_s=581.0)
    facts = facts_of(MAIL, live("bills"), lost)

    jobs, sentence = one(queues.unserved(facts))

    assert (jobs, sentence.code) == (2, "queue_unserved")
    assert sentence.text == (
        "Queue mail has no worker. 2 jobs wait, the oldest for 1m. Its last worker, "
        "worker-2, was last seen 9m ago."
    )
    assert sentence.evidence["worker"] == "worker-2"
    assert sentence.evidence["command"] == "flask forge-jobs worker --queues mail"
    assert said(queues.unserved, facts_of(MAIL, live("mail"))) == []


def test_a_job_that_fails_waits_for_a_worker_as_well() -> None:
    queue = replace(MAIL, counts=QueueCounts(failed=1), oldest_wait_s=0)

    assert said(queues.unserved, facts_of(queue, live("bills"))) == [
        "Queue mail has no worker. 1 job retries."
    ]
    single = replace(queue, counts=QueueCounts(pending=1), oldest_wait_s=90)
    assert said(queues.unserved, facts_of(single, live("bills"))) == [
        "Queue mail has no worker. 1 job waits for 1m."
    ]
    one_more = replace(queue, counts=QueueCounts(pending=3, failed=1))
    assert said(queues.unserved, facts_of(one_more, live("bills"))) == [
        "Queue mail has no worker. 3 jobs wait and 1 job retries."
    ]
    both = replace(queue, counts=QueueCounts(pending=3, failed=2), oldest_wait_s=90)
    assert said(queues.unserved, facts_of(both, live("bills"))) == [
        "Queue mail has no worker. 3 jobs wait and 2 retry, the oldest for 1m."
    ]


def test_a_limited_caller_hears_of_its_queues_not_of_all_workers() -> None:
    facts = facts_of(MAIL).limited_to(["mail"])

    assert said(queues.unserved, facts) == [
        "Queue mail has no worker. 2 jobs wait, the oldest for 1m."
    ]


def test_workers_that_cannot_beat_are_not_said_to_be_gone() -> None:
    facts = replace(facts_of(MAIL), database=DatabaseFacts(write_locked_s=70.0))

    assert said(queues.unserved, facts) == []


def test_a_command_line_quotes_names() -> None:
    assert queues.worker_command("a b", "c") == (
        "flask forge-jobs worker --queues 'a b,c'"
    )


def test_a_queue_without_slots() -> None:
    _, sentence = one(queues.without_slots(facts_of(replace(MAIL, max_workers=0))))

    assert sentence.text == "mail has no slots: its max_workers is 0. 2 jobs wait."
    assert sentence.action == Action(
        "PATCH", "/v1/queues/mail", "Give it slots", {"max_workers": 64}
    )
    assert said(queues.without_slots, facts_of(MAIL)) == []


@pytest.mark.parametrize(("bound", "is_full"), [(4, True), (5, False), (None, False)])
def test_a_queue_is_full_at_its_bound(bound: int | None, is_full: bool) -> None:
    counts = QueueCounts(pending=1, failed=1, scheduled=2, in_progress=9)
    queue = replace(MAIL, counts=counts, max_pending=bound)

    texts = said(queues.full, facts_of(queue))

    assert texts == (
        [
            (
                "mail is full: 4 jobs are still to run, and its max_pending is 4, so "
                "it refuses new ones."
            )
        ]
        if is_full
        else []
    )


def test_a_full_queue_takes_twice_as_many() -> None:
    _, sentence = one(queues.full(facts_of(replace(MAIL, max_pending=2))))

    assert sentence.action == Action(
        "PATCH", "/v1/queues/mail", "Raise the bound to 4", {"max_pending": 4}
    )


def test_a_paused_queue_with_jobs() -> None:
    jobs, sentence = one(queues.paused(facts_of(replace(MAIL, is_paused=True))))

    assert (jobs, sentence.code) == (2, "queue_paused")
    assert sentence.text.startswith("mail is paused")
    assert sentence.action == Action(
        "POST", "/v1/queues/actions", "Resume", {"action": "resume", "queues": ["mail"]}
    )
    assert said(queues.paused, facts_of(QueueFacts("mail", is_paused=True))) == []


def test_who_paused_a_queue_and_why() -> None:
    queue = replace(
        MAIL,
        is_paused=True,
        paused_for_s=7800.0,
        paused_by="ops",
        pause_reason="CDN migration",
    )

    _, sentence = one(queues.paused(facts_of(queue, live("mail"))))

    text = "mail is paused by ops, “CDN migration”, for 2h 10m. 2 jobs wait."
    assert sentence.text == text
    assert sentence.evidence["paused_s"] == 7800

    facts = facts_of(queue, live("bills"))
    assert said(queues.paused, facts) == [
        f"{text} No live worker serves it, so a resume alone starts none."
    ]
    locked = replace(facts, database=DatabaseFacts(write_locked_s=9.0))
    assert said(queues.paused, locked) == [text]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"throttled_kind": "send"}, " after a throttle of send"),
        (
            {"throttled_kind": "send", "throttle_cause": "HTTP 429"},
            " after a throttle of send: “HTTP 429”",
        ),
        ({"throttled_by": "ops", "throttle_cause": "quota"}, ", as ops asked: “quota”"),
    ],
)
def test_why_a_queue_cools_down(change: dict[str, str], words: str) -> None:
    queue = replace(MAIL, cools_for_s=16.0, **change)  # type: ignore[arg-type]

    [text] = said(queues.cooling, facts_of(queue))

    assert text.startswith(f"mail cools down for 16s more{words}. 2 jobs")


def test_a_worker_that_has_left_was_the_last_one_of_its_queue() -> None:
    queue = replace(MAIL, last_worker="worker-3", last_served_s=3600.0)
    lost = replace(live("mail"), silent_s=7200.0)

    [text] = said(queues.unserved, facts_of(queue, lost, live("bills")))

    assert text.endswith(" Its last worker, worker-3, was last seen 1h ago.")


@pytest.mark.parametrize(("waits_s", "is_behind"), [(300, True), (299, False)])
def test_a_queue_is_behind_after_five_minutes(waits_s: int, is_behind: bool) -> None:
    facts = facts_of(replace(MAIL, oldest_wait_s=waits_s), live("mail"))

    assert said(queues.behind, facts) == (
        ["mail is behind: the oldest job waits 5m; all 8 slots are busy."]
        if is_behind
        else []
    )
    assert bool(said(queues.behind, replace(facts, behind_s=299.0)))
    assert not said(queues.behind, replace(facts, behind_s=301.0))


@pytest.mark.parametrize(
    "change",
    [{"is_paused": True}, {"cools_for_s": 3.0}, {"max_workers": 0}, {"name": "bills"}],
)
def test_a_queue_that_does_not_run_is_not_behind(change: dict[str, object]) -> None:
    queue = replace(MAIL, oldest_wait_s=900, **change)  # type: ignore[arg-type]

    assert said(queues.behind, facts_of(queue, live("mail"))) == []


def test_slots_are_added_by_the_setting_or_by_a_worker() -> None:
    late = replace(MAIL, oldest_wait_s=900)
    _, by_setting = one(queues.behind(facts_of(late, live("mail"))))
    few = replace(late, slots=1, busy_slots=1)
    _, by_worker = one(queues.behind(facts_of(few, live("mail"))))

    assert by_setting.action == Action(
        "PATCH", "/v1/queues/mail", "Add slots", {"max_workers": 16}
    )
    assert by_worker.action is None
    assert by_worker.text.endswith("its only slot is busy.")
    assert by_worker.evidence["command"] == "flask forge-jobs worker --queues mail"


@pytest.mark.parametrize(
    ("slots", "busy", "claimed", "words"),
    [
        (8, 3, 3, ", although 5 of 8 slots are free"),
        (1, 0, 0, ", although its only slot is free"),
        (8, 3, 4, "; 1 of its jobs is claimed and starts next"),
        (8, 3, 9, "; 6 of its jobs are claimed and start next"),
        (0, 0, 0, "; it has no slot yet"),
        (2, 2, 9, "; all 2 slots are busy"),
    ],
)
def test_why_a_queue_is_behind(slots: int, busy: int, claimed: int, words: str) -> None:
    counts = QueueCounts(pending=2, in_progress=claimed)
    queue = replace(
        MAIL, oldest_wait_s=900, slots=slots, busy_slots=busy, counts=counts
    )

    [text] = said(queues.behind, facts_of(queue, live("mail")))

    assert text == f"mail is behind: the oldest job waits 15m{words}."


@pytest.mark.parametrize(
    ("threads", "words"),
    [
        (4, "; all 4 slots that 2 queues share are busy"),
        (1, "; the only slot that 2 queues share is busy"),
        (5, ", although all 8 slots are free"),
        (None, ", although all 8 slots are free"),
    ],
)
def test_jobs_of_other_queues_may_have_the_threads(
    threads: int | None, words: str
) -> None:
    """Each of two queues has eight slots, and the other one runs jobs in four."""
    queue = replace(MAIL, oldest_wait_s=900, busy_slots=0)
    busy = min(threads or 4, 4)
    worker = replace(live("mail", "bills"), threads=threads, slots=16, busy_slots=busy)

    [(_, sentence)] = queues.behind(facts_of(queue, worker))

    assert sentence.text == f"mail is behind: the oldest job waits 15m{words}."
    # More slots help only where a thread is free.
    assert (sentence.action is None) is ("share" in words)


@pytest.mark.parametrize(
    ("claimed", "silent_s", "words"),
    [
        (130, 0.0, "; of other queues, 129 claimed jobs come first"),
        (3, 0.0, ", although all 8 slots are free"),
        # A worker that is silent may hold them.
        (130, 90.0, ", although all 8 slots are free"),
    ],
)
def test_jobs_of_other_queues_may_be_claimed_for_the_free_threads(
    claimed: int, silent_s: float, words: str
) -> None:
    """One of its worker's four threads runs a job of another queue."""
    queue = replace(MAIL, oldest_wait_s=900, busy_slots=0)
    counts = QueueCounts(in_progress=claimed)
    other = replace(MAIL, name="bills", busy_slots=1, counts=counts)
    worker = replace(live("mail", "bills"), threads=4, slots=16, busy_slots=1)
    second = replace(live("bills"), id="second", silent_s=silent_s)
    facts = replace(facts_of(queue, worker, second), queues=[queue, other])

    [text] = said(queues.behind, facts)

    assert text == f"mail is behind: the oldest job waits 15m{words}."


def test_a_queue_that_cools_down() -> None:
    _, sentence = one(
        queues.cooling(facts_of(replace(MAIL, cools_for_s=16.2), live("mail")))
    )

    assert sentence.text.startswith("mail cools down for 16s more")
    assert sentence.text.endswith("2 jobs wait and start by themselves.")
    assert sentence.action == Action(
        "POST",
        "/v1/queues/actions",
        "End now",
        {"action": "end_cooldown", "queues": ["mail"]},
    )
    one_job = replace(MAIL, cools_for_s=16.2, counts=QueueCounts(pending=1))
    [text] = said(queues.cooling, facts_of(one_job, live("mail")))
    assert text.endswith("1 job waits and starts by itself.")
    assert said(queues.cooling, Facts(AT, [replace(one_job, is_paused=True)])) == []
    [text] = said(queues.cooling, Facts(AT, [one_job]))  # no worker serves it
    assert text.endswith(". 1 job waits.")


def test_a_path_quotes_the_name_of_a_queue() -> None:
    queue = replace(MAIL, name="a b/c", max_workers=0)

    _, sentence = one(queues.without_slots(facts_of(queue)))

    assert sentence.action is not None
    assert sentence.action.path == "/v1/queues/a%20b%2Fc"
