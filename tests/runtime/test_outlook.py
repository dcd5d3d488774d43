from __future__ import annotations

from flask_forge_jobs.runtime.outlook import IDLE_AFTER_S, PROMOTE_PERIOD_S, Outlook

POLL_S = 5.0
LATER = 100.0


def quiet(*names: str) -> Outlook:
    """An outlook that has looked everywhere at 0 s and found nothing."""
    outlook = Outlook(names)
    outlook.look_around(0.0, POLL_S)
    outlook.hopeful.clear()
    outlook.note_exchange(0.0, promoted=True)
    return outlook


def test_at_first_any_queue_may_have_work() -> None:
    assert Outlook(["a", "b"]).hopeful == {"a", "b"}


def test_what_is_heard_makes_its_queue_hopeful() -> None:
    outlook = quiet("a", "b")

    outlook.hear(["b"])

    assert outlook.hopeful == {"b"}


def test_it_looks_everywhere_at_each_poll_and_not_before() -> None:
    outlook = quiet("a", "b")

    outlook.look_around(POLL_S - 0.1, POLL_S)
    before = set(outlook.hopeful)
    outlook.look_around(POLL_S, POLL_S)

    assert before == set()
    assert outlook.hopeful == {"a", "b"}
    assert outlook.next_looks() == [2 * POLL_S]


def test_it_looks_everywhere_when_a_job_is_due() -> None:
    outlook = quiet("a")

    asked = outlook.to_ask(IDLE_AFTER_S)
    outlook.learn_due(1.5)
    looks = outlook.next_looks()
    outlook.look_around(1.5, POLL_S)

    assert asked == {"a"}
    assert looks == [POLL_S, 1.5]
    assert outlook.hopeful == {"a"}
    assert outlook.is_time_to_promote(1.5)


def test_only_who_has_been_idle_asks_and_only_once() -> None:
    outlook = quiet("a", "b")
    outlook.hear(["b"])

    early = outlook.to_ask(IDLE_AFTER_S / 2)
    asked = outlook.to_ask(IDLE_AFTER_S)
    outlook.learn_due(None)

    assert early == set()
    assert asked == {"a"}, "the other one has work"
    assert outlook.to_ask(LATER) == set()
    assert outlook.next_looks() == [POLL_S]


def test_what_happens_after_the_question_makes_the_answer_worthless() -> None:
    for tell in (Outlook.hear, Outlook.forget_due):
        outlook = quiet("a")
        outlook.to_ask(IDLE_AFTER_S)
        tell(outlook, ["a"])
        outlook.learn_due(None)
        outlook.hopeful.clear()

        assert outlook.to_ask(LATER) == {"a"}


def test_a_busy_worker_promotes_at_a_steady_pace() -> None:
    outlook = quiet("a")

    outlook.note_exchange(0.1, promoted=False)

    assert not outlook.is_time_to_promote(PROMOTE_PERIOD_S / 2)
    assert outlook.is_time_to_promote(PROMOTE_PERIOD_S)
