from __future__ import annotations

from dataclasses import replace

from flask_forge_jobs.handlers.attention.workers import late_duties, lost
from flask_forge_jobs.model.attention import DatabaseFacts, Rescued
from flask_forge_jobs.model.workers import ServiceAge
from tests.support.facts import facts_of, live, said


def test_a_worker_that_fell_silent() -> None:
    gone = replace(live("mail"), id="W2", name=None, silent_s=61.0)

    assert said(lost, facts_of(live("mail"), gone)) == [
        "W2 is lost: it was last seen 1m ago."
    ]
    assert said(lost, facts_of(replace(gone, silent_s=60.0))) == []
    assert len(said(lost, facts_of(replace(gone, silent_s=9.0, is_lost=True)))) == 1
    locked = replace(facts_of(gone), database=DatabaseFacts(write_locked_s=61.0))
    assert said(lost, locked) == []


def test_the_jobs_of_a_lost_worker() -> None:
    rescued = (Rescued("mail", 2, 1), Rescued("bank", 1, 0))
    gone = replace(live("mail", "bank"), is_lost=True, rescued=rescued)

    [(jobs, sentence)] = lost(facts_of(gone))
    [one] = said(lost, facts_of(gone).limited_to(["bank"]))

    assert jobs == 3
    assert sentence.text.endswith(" 3 jobs that it ran were rescued, 1 of them dead.")
    assert one.endswith(" 1 job that it ran was rescued, 0 of them dead.")


def test_the_longest_pause_of_a_duty() -> None:
    late = replace(live("mail"), services=(ServiceAge("reaper", 300.0, 15.0),))
    later = replace(late, id="W2", services=(ServiceAge("reaper", 400.0, 15.0),))
    well = replace(late, services=(ServiceAge("cron", 4.0, 5.0),))

    later = replace(later, name="worker-2")

    [text] = said(late_duties, facts_of(late, later, well))

    assert text == (
        "reaper of worker-2 does not tick: the last time was 6m ago, usually it is "
        "every 15s."
    )
    assert said(late_duties, facts_of(replace(late, silent_s=99.0))) == []
