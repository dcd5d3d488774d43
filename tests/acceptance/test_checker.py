"""The checker is worth something only if it notices; each damage must be flagged."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.acceptance.application import LINE_OF_CHILD, LINES
from tests.acceptance.checker import SECOND_NS, Checker, table
from tests.acceptance.ledger import (
    Ack,
    Evidence,
    Failure,
    FinalRow,
    KeptLine,
    Kill,
    Life,
    Line,
    StoredAttempt,
    parse_lines,
)

DEAD_HOST, HOST = "host-dead", "host-alive"
DEAD_PID, PID, STALLED_PID = 100, 200, 300
SEED = 20_260
RANDOM = random.Random(SEED)
Damage = Callable[[Evidence], None]


def sound() -> Evidence:
    """A small run in which one worker died: everything holds."""
    evidence = Evidence(recovery_limit_s=6.0)
    for number in range(10):
        job_id = f"plain-{number}"
        evidence.acks.append(Ack(job_id))
        evidence.rows.append(_done(job_id, 1))
        evidence.lines += _run(job_id, 1, HOST, PID, at_s=1 + number)
    # A job that fails once, one that loses its worker, one key asked for twice.
    evidence.acks += [Ack("fails"), Ack("crashed"), Ack("keyed", "key")]
    evidence.acks.append(Ack("keyed", "key", is_deduped=True))
    evidence.lines += _run("fails", 1, HOST, PID, at_s=20, end="F")
    evidence.lines += _run("fails", 2, HOST, PID, at_s=22)
    evidence.rows.append(_done("fails", 2, Failure(1, 20 * SECOND_NS, is_reaped=False)))
    evidence.lines.append(Line("S", "crashed", 1, DEAD_HOST, DEAD_PID, 30 * SECOND_NS))
    evidence.lines += _run("crashed", 2, HOST, PID, at_s=36)
    reaped = Failure(1, 34 * SECOND_NS, is_reaped=True)
    evidence.rows.append(_done("crashed", 2, reaped))
    evidence.lines += _run("keyed", 1, HOST, PID, at_s=40)
    evidence.rows.append(replace(_done("keyed", 1), dedupe_key="key"))
    held = frozenset({("crashed", 1)})
    evidence.kills.append(Kill(DEAD_PID, DEAD_HOST, 31 * SECOND_NS, held))
    evidence.lives += [Life(DEAD_PID, 0, 31 * SECOND_NS), Life(PID, 0, 100 * SECOND_NS)]
    for source in ("rows", "maintained"):
        evidence.counts[source] = {"done": 13, "pending": 0}
    return evidence


def _run(
    job_id: str, attempt: int, worker_id: str, pid: int, *, at_s: int, end: str = "E"
) -> list[Line]:
    at_ns = at_s * SECOND_NS
    return [
        Line("S", job_id, attempt, worker_id, pid, at_ns),
        Line(end, job_id, attempt, worker_id, pid, at_ns + SECOND_NS // 2),
    ]


def _done(job_id: str, attempts: int, *failures: Failure) -> FinalRow:
    stored = [
        StoredAttempt(
            failure.attempt,
            failure.attempt,
            "crashed" if failure.is_reaped else "failed",
            DEAD_HOST if failure.is_reaped else HOST,
            started_us=2 * failure.attempt,
            ended_us=2 * failure.attempt + 1,
        )
        for failure in failures
    ]
    last = StoredAttempt(attempts, attempts, "done", HOST, 100, 101)
    lines = [line for each in (*stored, last) for line in _lines(job_id, each)]
    if stored:
        stored.append(last)
    return FinalRow(
        job_id,
        "done",
        attempts,
        25,
        sum(failure.is_reaped for failure in failures),
        failures=failures,
        result_host=HOST,
        result_attempt=attempts,
        claims=attempts,
        stored_attempts=tuple(stored),
        kept_lines=tuple(lines),
    )


def _lines(job_id: str, each: StoredAttempt) -> list[KeptLine]:
    head = f"{job_id} {each.attempt} {each.worker_id}"
    return [
        KeptLine(each.run, each.attempt, number, f"{head} {number}")
        for number in range(2 if each.ending == "crashed" else LINES)
    ]


def _index(evidence: Evidence, job_id: str) -> int:
    return next(n for n, row in enumerate(evidence.rows) if row.job_id == job_id)


def _change(evidence: Evidence, job_id: str, **changes: object) -> None:
    index = _index(evidence, job_id)
    evidence.rows[index] = replace(evidence.rows[index], **changes)  # type: ignore[arg-type]  # names fields


def _any_plain() -> str:
    return f"plain-{RANDOM.randrange(10)}"


def lose_a_job(evidence: Evidence) -> None:
    del evidence.rows[_index(evidence, _any_plain())]


def leave_a_job_running(evidence: Evidence) -> None:
    _change(evidence, _any_plain(), status="in_progress", worker_id=HOST)


def bury_a_job(evidence: Evidence) -> None:
    _change(evidence, _any_plain(), status="dead")


def store_a_phantom(evidence: Evidence) -> None:
    evidence.rows.append(_done("phantom", 1))
    evidence.lines += _run("phantom", 1, HOST, PID, at_s=50)


def finish_what_never_ended(evidence: Evidence) -> None:
    job_id = _any_plain()
    evidence.lines = [
        line for line in evidence.lines if (line.event, line.job_id) != ("E", job_id)
    ]


def finish_by_another_host(evidence: Evidence) -> None:
    _change(evidence, _any_plain(), result_host=DEAD_HOST)


def run_twice_without_a_reason(evidence: Evidence) -> None:
    job_id = _any_plain()
    evidence.lines += _run(job_id, 2, HOST, PID, at_s=60)
    reaped = Failure(1, 59 * SECOND_NS, is_reaped=True)
    evidence.rows[_index(evidence, job_id)] = _done(job_id, 2, reaped)


def start_an_attempt_twice(evidence: Evidence) -> None:
    evidence.lines += _run(_any_plain(), 1, HOST, PID, at_s=61)


def forget_the_kill(evidence: Evidence) -> None:
    evidence.kills.clear()


def blame_the_wrong_process(evidence: Evidence) -> None:
    evidence.kills[0] = replace(evidence.kills[0], pid=PID)


def accept_a_late_finish(evidence: Evidence) -> None:
    """The run that was reaped records its result after all."""
    _change(evidence, "crashed", attempts=1, result_attempt=1, result_host=DEAD_HOST)
    evidence.lines.append(Line("E", "crashed", 1, DEAD_HOST, DEAD_PID, 30 * SECOND_NS))


def record_an_older_attempt(evidence: Evidence) -> None:
    _change(evidence, "crashed", result_attempt=1)


def overlap_two_runs(evidence: Evidence) -> None:
    evidence.kills[0] = replace(evidence.kills[0], at_ns=37 * SECOND_NS)


def lose_an_attempt(evidence: Evidence) -> None:
    _change(evidence, _any_plain(), attempts=2, result_attempt=2)


def miscount_the_crashes(evidence: Evidence) -> None:
    _change(evidence, "crashed", crashes=2)


def run_too_often(evidence: Evidence) -> None:
    _change(evidence, "fails", max_attempts=1)


def _claim_ahead(evidence: Evidence, slot: int | None = None) -> None:
    """Let the crashed job wait for a slot when its worker dies."""
    run = ("crashed", 1)
    evidence.lines = [line for line in evidence.lines if line.run != run]
    row = evidence.rows[_index(evidence, "crashed")]
    crashed, *others = row.stored_attempts
    _change_attempts(evidence, replace(crashed, slot=slot), *others)
    _change(
        evidence,
        "crashed",
        kept_lines=tuple(each for each in row.kept_lines if each.attempt != 1),
    )


def charge_a_job_that_waited(evidence: Evidence) -> None:
    _claim_ahead(evidence)


def drift_a_counter(evidence: Evidence) -> None:
    evidence.counts["maintained"]["done"] += RANDOM.choice((-1, 1))


def store_a_key_twice(evidence: Evidence) -> None:
    evidence.duplicates_seen.append("key")


def answer_with_a_stranger(evidence: Evidence) -> None:
    evidence.acks[-1] = Ack(_any_plain(), "key", is_deduped=True)


def know_of_no_worker(evidence: Evidence) -> None:
    evidence.lives.clear()


def recover_too_late(evidence: Evidence) -> None:
    late = Failure(1, 38 * SECOND_NS, is_reaped=True)
    _change(evidence, "crashed", failures=(late,))


def damage_the_database(evidence: Evidence) -> None:
    evidence.damage.append("row 7 missing from index forge_job_claim")


def leave_a_slot(evidence: Evidence) -> None:
    evidence.leftovers.append("slot default-0-host-dead-0")


def _change_attempts(evidence: Evidence, *attempts: StoredAttempt) -> None:
    _change(evidence, "crashed", stored_attempts=attempts)


def forget_an_attempt(evidence: Evidence) -> None:
    _change_attempts(evidence, *evidence.rows[-2].stored_attempts[1:])


def forget_all_attempts(evidence: Evidence) -> None:
    _change_attempts(evidence)


def forget_the_last_attempt(evidence: Evidence) -> None:
    _change_attempts(evidence, evidence.rows[-2].stored_attempts[0])


def number_an_attempt_twice(evidence: Evidence) -> None:
    first, last = evidence.rows[-2].stored_attempts
    _change_attempts(evidence, first, replace(last, run=1))


def blame_a_worker_that_lives(evidence: Evidence) -> None:
    first, last = evidence.rows[-2].stored_attempts
    _change_attempts(evidence, replace(first, worker_id=HOST), last)


def call_a_crash_a_failure(evidence: Evidence) -> None:
    first, last = evidence.rows[-2].stored_attempts
    _change_attempts(evidence, replace(first, ending="failed"), last)


def end_an_attempt_late(evidence: Evidence) -> None:
    first, last = evidence.rows[-2].stored_attempts
    _change_attempts(evidence, replace(first, ended_us=last.started_us + 1), last)


def _change_lines(evidence: Evidence, *lines: KeptLine) -> None:
    """Change the lines of a job whose first run has two and whose second has all."""
    _change(evidence, "crashed", kept_lines=lines)


def swap_two_lines(evidence: Evidence) -> None:
    first, second, *more = evidence.rows[-2].kept_lines
    swapped = replace(first, text=second.text), replace(second, text=first.text)
    _change_lines(evidence, *swapped, *more)


def keep_a_line_twice(evidence: Evidence) -> None:
    first, second, *more = evidence.rows[-2].kept_lines
    _change_lines(evidence, first, second, replace(second, number=2), *more)


def store_a_row_of_lines_twice(evidence: Evidence) -> None:
    first, second, *more = evidence.rows[-2].kept_lines
    _change_lines(evidence, first, second, second, *more)


def miss_a_line(evidence: Evidence) -> None:
    _, second, *more = evidence.rows[-2].kept_lines
    _change_lines(evidence, replace(second, number=0), *more)


def miss_the_last_line(evidence: Evidence) -> None:
    _change_lines(evidence, *evidence.rows[-2].kept_lines[:-1])


def miss_all_lines(evidence: Evidence) -> None:
    _change(evidence, _any_plain(), kept_lines=())


def take_lines_of_another_attempt(evidence: Evidence) -> None:
    first, second, *more = evidence.rows[-2].kept_lines
    text = more[0].text
    _change_lines(evidence, replace(first, text=text), second, *more)


def take_lines_of_another_job(evidence: Evidence) -> None:
    job_id = _any_plain()
    _change(evidence, job_id, kept_lines=_done("other", 1).kept_lines)


def keep_lines_of_no_run(evidence: Evidence) -> None:
    lines = evidence.rows[-2].kept_lines
    _change_lines(evidence, *lines, replace(lines[0], run=3))


def keep_the_line_of_a_child(evidence: Evidence) -> None:
    lines = evidence.rows[-2].kept_lines
    text = lines[-1].text.rpartition(" ")[0] + f" {LINE_OF_CHILD}"
    _change_lines(evidence, *lines, replace(lines[-1], number=LINES, text=text))


DAMAGES: tuple[tuple[Damage, str], ...] = (
    (lose_a_job, "I1"),
    (leave_a_job_running, "I1"),
    (bury_a_job, "I1"),
    (store_a_phantom, "I2"),
    (finish_what_never_ended, "I3"),
    (finish_by_another_host, "I3"),
    (run_twice_without_a_reason, "I4"),
    (start_an_attempt_twice, "I4"),
    (forget_the_kill, "I4"),
    (blame_the_wrong_process, "I4"),
    (accept_a_late_finish, "I5"),
    (record_an_older_attempt, "I5"),
    (overlap_two_runs, "I6"),
    (lose_an_attempt, "I7"),
    (miscount_the_crashes, "I7"),
    (run_too_often, "I7"),
    (charge_a_job_that_waited, "I7"),
    (drift_a_counter, "I8"),
    (store_a_key_twice, "I9"),
    (answer_with_a_stranger, "I9"),
    (recover_too_late, "I12"),
    (know_of_no_worker, "I12"),
    (damage_the_database, "I14"),
    (leave_a_slot, "I15"),
    (forget_an_attempt, "I16"),
    (forget_all_attempts, "I16"),
    (forget_the_last_attempt, "I16"),
    (number_an_attempt_twice, "I16"),
    (blame_a_worker_that_lives, "I16"),
    (call_a_crash_a_failure, "I16"),
    (end_an_attempt_late, "I16"),
    (swap_two_lines, "I17"),
    (keep_a_line_twice, "I17"),
    (store_a_row_of_lines_twice, "I17"),
    (miss_a_line, "I17"),
    (miss_the_last_line, "I17"),
    (miss_all_lines, "I17"),
    (take_lines_of_another_attempt, "I17"),
    (take_lines_of_another_job, "I17"),
    (keep_lines_of_no_run, "I17"),
    (keep_the_line_of_a_child, "I17"),
)


@pytest.mark.parametrize(("slot", "max_attempts"), [(None, 26), (0, 25)])
def test_a_job_that_waited_gets_its_attempt_back(
    slot: int | None, max_attempts: int
) -> None:
    """One that its slot had shown may have begun before it could say so."""
    evidence = sound()
    _claim_ahead(evidence, slot)
    _change(evidence, "crashed", max_attempts=max_attempts)

    verdicts = Checker(evidence).check()

    assert [each.name for each in verdicts if each.violations] == []


def test_checker_accepts_a_sound_run() -> None:
    verdicts = Checker(sound()).check()

    assert not any(verdict.violations for verdict in verdicts), table(verdicts)


@pytest.mark.parametrize(
    ("damage", "invariant"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES]
)
def test_checker_flags_damage(damage: Damage, invariant: str) -> None:
    evidence = sound()

    damage(evidence)

    verdicts = Checker(evidence).check()
    broken = [verdict.name for verdict in verdicts if verdict.violations]
    assert invariant in broken, table(verdicts)


def test_every_invariant_has_a_damage_that_breaks_it() -> None:
    checked = {verdict.name for verdict in Checker(sound()).check()}

    assert checked == {invariant for _, invariant in DAMAGES}


def test_checker_waits_for_a_process_that_can_notice() -> None:
    """Nobody can give a job back within the limit if nobody lives that long."""
    evidence = sound()
    recover_too_late(evidence)
    evidence.lives[1] = Life(PID, 33 * SECOND_NS, 100 * SECOND_NS)

    verdicts = {verdict.name: verdict for verdict in Checker(evidence).check()}

    assert not verdicts["I12"].violations


@pytest.mark.parametrize(("from_s", "to_s", "excused"), [(33, 36, 1), (38, 42, 0)])
def test_checker_waits_for_a_stopped_process_that_may_have_locks(
    from_s: int, to_s: int, excused: int
) -> None:
    evidence = sound()
    recover_too_late(evidence)
    stall = Kill(STALLED_PID, "host-3", from_s * SECOND_NS, resumed_ns=to_s * SECOND_NS)
    evidence.kills.append(stall)

    verdicts = {verdict.name: verdict for verdict in Checker(evidence).check()}

    assert len(verdicts["I12"].violations) == 1 - excused


def stalled() -> Evidence:
    """A run in which a stopped worker went on after its job was given away."""
    evidence = sound()
    evidence.kills[0] = replace(evidence.kills[0], resumed_ns=38 * SECOND_NS)
    evidence.lives[0] = Life(DEAD_PID, 0, 100 * SECOND_NS)
    evidence.lines.append(Line("E", "crashed", 1, DEAD_HOST, DEAD_PID, 39 * SECOND_NS))
    return evidence


def test_checker_accepts_a_late_end_that_was_refused() -> None:
    checker = Checker(stalled())

    verdicts = checker.check()

    assert not any(verdict.violations for verdict in verdicts), table(verdicts)
    assert [line.run for line in checker.late_ends()] == [("crashed", 1)]


def test_checker_flags_a_late_end_that_was_stored() -> None:
    evidence = stalled()
    _change(evidence, "crashed", result_attempt=1, result_host=DEAD_HOST)

    verdicts = {verdict.name: verdict for verdict in Checker(evidence).check()}

    assert verdicts["I5"].violations


def test_stall_explains_only_what_the_process_held() -> None:
    evidence = stalled()
    evidence.kills[0] = replace(evidence.kills[0], held=frozenset())

    verdicts = {verdict.name: verdict for verdict in Checker(evidence).check()}

    assert verdicts["I4"].violations
    assert verdicts["I6"].violations


def given_back() -> Evidence:
    """A run in which a worker that stops gives a job back, which then ends after all.

    The next run has the same attempt, and begins much later.
    """
    evidence = sound()
    stopped, pid = "host-stopped", 400
    evidence.acks.append(Ack("given"))
    evidence.lines += _run("given", 1, stopped, pid, at_s=42)
    evidence.lines += _run("given", 1, HOST, PID, at_s=90)
    attempts = (
        StoredAttempt(1, 1, "released", stopped, started_us=1, ended_us=2),
        StoredAttempt(2, 1, "done", HOST, started_us=100, ended_us=101),
    )
    lines = [line for each in attempts for line in _lines("given", each)]
    row = replace(_done("given", 1), claims=2, stored_attempts=attempts)
    evidence.rows.append(replace(row, kept_lines=tuple(lines)))
    evidence.counts = {"rows": {"done": 14}}
    return evidence


def test_checker_accepts_a_job_that_was_given_back() -> None:
    verdicts = Checker(given_back()).check()

    assert not any(verdict.violations for verdict in verdicts), table(verdicts)


def run_on_meanwhile(evidence: Evidence) -> None:
    """The run goes on until after the next one has begun."""
    end = next(
        line for line in evidence.lines
        if (line.event, line.worker_id) == ("E", "host-stopped")
    )  # fmt: skip
    evidence.lines.remove(end)
    evidence.lines.append(replace(end, at_ns=91 * SECOND_NS))


def give_back_and_go_on(evidence: Evidence) -> None:
    evidence.lines += _run("plain-1", 2, "host-stopped", 400, at_s=95)


def keep_no_word_of_it(evidence: Evidence) -> None:
    _change(evidence, "given", stored_attempts=(), claims=1)


@pytest.mark.parametrize(
    ("damage", "invariant"),
    [(run_on_meanwhile, "I6"), (give_back_and_go_on, "I4"), (keep_no_word_of_it, "I4")],
)
def test_checker_flags_a_job_that_was_given_back_wrongly(
    damage: Damage, invariant: str
) -> None:
    evidence = given_back()

    damage(evidence)

    verdicts = {verdict.name: verdict for verdict in Checker(evidence).check()}
    assert verdicts[invariant].violations


def test_checker_knows_the_jobs_of_forked_children() -> None:
    evidence = sound()

    def broken() -> set[str]:
        verdicts = Checker(evidence).check()
        return {verdict.name for verdict in verdicts if verdict.violations}

    evidence.rows.append(_done("child", 1))
    evidence.lines += _run("child", 1, HOST, PID, at_s=50)
    evidence.counts = {"rows": {"done": 14}}
    assert broken() == {"I2"}
    evidence.lines.append(Line("T", "child", 1, HOST, PID + 1, 49 * SECOND_NS))
    assert broken() == set()
    evidence.lines.append(Line("Q", "lost", 1, HOST, PID + 1, 51 * SECOND_NS))
    assert broken() == {"I1"}
    evidence.lines.append(Line("X", "plain-1", 1, HOST, PID, 52 * SECOND_NS))
    assert broken() == {"I1", "I15"}


def test_table_names_what_is_broken() -> None:
    evidence = sound()
    leave_a_slot(evidence)

    text = table(Checker(evidence).check())

    assert "BROKEN 1 times" in text
    assert "slot default-0-host-dead-0" in text


def test_ledger_refuses_a_torn_line() -> None:
    with pytest.raises(ValueError, match="line 2"):
        parse_lines(["S job 1 host/7 42", "S job 1 ho"])
