"""Mutants of cron: when a schedule fires, what is caught up with, and who fires."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_TIMES = "model/cron_times.py"
_CRON = "model/cron.py"
_STORE = "storage/cron.py"
_FIRES = "contract/test_cron_firing.py"
_DECLARES = "contract/test_declared_schedules.py"

MUTANTS = (
    # -- the next firing ---------------------------------------------------------------
    Mutant(
        "a schedule fires again in the second in which it fired",
        _TIMES,
        "    first = reading + _SECOND\n",
        "    first = reading\n",
        ("model/test_cron_times.py::test_the_next_firing_is_strictly_later",),
    ),
    Mutant(
        "a repeated hour fires the second time",
        _TIMES,
        "return shift.instant if shift.is_gap else found - shift.before",
        "return shift.instant if shift.is_gap else found - shift.after",
        ("model/test_cron_times.py::test_a_repeated_hour_fires_the_first_time",),
    ),
    Mutant(
        "an interval leaves out the second run of a repeated hour",
        _TIMES,
        "return first if first > after else second",
        "return first",
        ("model/test_cron_times.py::test_an_interval_counts_real_time",),
    ),
    Mutant(
        "a month has no last day",
        _TIMES,
        "matching &= (1 << length + 1) - 1",
        "matching &= (1 << length) - 1",
        ("model/test_cron_times.py::test_the_next_firing",),
    ),
    Mutant(
        "two restricted day fields must both match in a crontab",
        _TIMES,
        "matching | days if expression.either_day else matching & days",
        "matching & days",
        ("model/test_cron_times.py::test_the_next_firing",),
    ),
    # -- catching up -------------------------------------------------------------------
    Mutant(
        "a firing that is hardly late counts as missed",
        _TIMES,
        "if now - first <= _MISSED_AFTER:",
        "if now - first < _MISSED_AFTER:",
        ("model/test_cron_times.py",),
    ),
    Mutant(
        "of too many missed firings the oldest are made",
        _TIMES,
        "found = _firings_from(next_after, first, now, most + 1)",
        "found = _firings_from(next_after, first, now, most)",
        ("model/test_cron_times.py",),
    ),
    Mutant(
        "missed firings are made from the youngest to the oldest",
        _TIMES,
        "return latest[::-1]",
        "return latest",
        ("model/test_cron_times.py",),
    ),
    Mutant(
        "the latest missed firing is one too early",
        _TIMES,
        "if later is None or later > until:",
        "if later is None or later >= until:",
        ("model/test_cron_times.py",),
    ),
    Mutant(
        "missed firings are made although the policy skips them",
        _TIMES,
        "    if catch_up is CatchUp.SKIP:\n        return []\n",
        "",
        ("model/test_cron_times.py",),
    ),
    # -- what becomes of a schedule ----------------------------------------------------
    Mutant(
        "a schedule that saw a clock ahead waits until it is there",
        _CRON,
        "if self.updated_at - now <= _CLOCK_WAS_AHEAD:",
        "if self.next_fire_at > now:",
        (
            (
                f"{_FIRES}"
                "::test_a_clock_that_was_ahead_for_a_moment_keeps_nothing_from_firing"
            ),
        ),
    ),
    Mutant(
        "a schedule that is enabled again fires what it missed",
        _CRON,
        "begins_anew = new_times or (wanted.enabled and not old.enabled)",
        "begins_anew = new_times",
        ("model/test_cron.py::test_enabling_begins_anew_and_clears_the_error",),
    ),
    Mutant(
        "a disabled schedule keeps its next firing",
        _CRON,
        "next_fire_at=next_fire_at if wanted.enabled else None,",
        "next_fire_at=next_fire_at,",
        (
            (
                "model/test_cron.py"
                "::test_disabling_forgets_the_next_firing_and_keeps_the_error"
            ),
        ),
    ),
    Mutant(
        "a change of zone leaves the next firing",
        _CRON,
        "new_times = (wanted.cron_expr, wanted.timezone) != "
        "(old.cron_expr, old.timezone)",
        "new_times = wanted.cron_expr != old.cron_expr",
        ("model/test_cron.py::test_other_times_begin_the_series_anew",),
    ),
    Mutant(
        "an instant fires twice",
        "storage/sql/migrations/sqlite/0001_foundation.sql",
        "CREATE UNIQUE INDEX forge_job_firing",
        "CREATE INDEX forge_job_firing",
        (f"{_FIRES}::test_an_instant_that_comes_back_is_not_fired_again",),
    ),
    Mutant(
        "a follower fires what is hardly due",
        _STORE,
        "overdue_us = int(overdue_s * SECOND_US)",
        "overdue_us = 0",
        (f"{_FIRES}::test_a_follower_leaves_what_is_hardly_due",),
    ),
    Mutant(
        "schedules behind a full transaction wait for the next look",
        _STORE,
        "is_last = len(rows) < SCHEDULES and len(plans) == len(rows)",
        "is_last = len(rows) < SCHEDULES",
        (f"{_FIRES}::test_more_firings_than_a_transaction_takes",),
    ),
    Mutant(
        "a firing whose key another kind holds is passed over",
        _STORE,
        "            error = _clash(transaction, definition) or _no_queue(",
        "            error = _no_queue(",
        (f"{_FIRES}::test_a_key_of_another_kind_leaves_the_firing_due",),
    ),
    Mutant(
        "a firing for which there is no queue is passed over",
        _STORE,
        "            if error is not None:\n",
        "            if isinstance(error, DuplicateJobError):\n",
        (f"{_FIRES}::test_sec_S32_a_schedule_makes_no_queue_too_many",),
    ),
    Mutant(
        "firings are not counted",
        _STORE,
        "            self._recorder.enqueued_many(made)\n",
        "",
        (f"{_FIRES}::test_firings_count_as_enqueued",),
    ),
    Mutant(
        "who does not lead fires at once",
        "runtime/cron.py",
        "patience_s = 0.0 if is_leader else LEADERS_TURN_S",
        "patience_s = 0.0",
        ("runtime/test_cron.py::test_a_follower_fires_what_the_leader_left",),
    ),
    Mutant(
        "the scheduler sleeps for as long as it takes",
        "runtime/cron.py",
        "return min(max(next_s, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)",
        "return max(next_s, SHORTEST_PAUSE_S)",
        ("runtime/test_cron.py::test_the_pause_is_bounded",),
    ),
    # -- what code declares ------------------------------------------------------------
    Mutant(
        "code takes over a schedule of an operator",
        _STORE,
        "if stored.declared_by != self._application:",
        "if stored.declared_by not in (None, self._application):",
        (f"{_DECLARES}::test_a_schedule_of_an_operator_is_left_alone",),
    ),
    Mutant(
        "code takes back what an operator changed in a schedule",
        "model/cron.py",
        "if value != has[name] and has[name] == before.get(name)",
        "if value != has[name]",
        ("model/test_cron.py::test_each_value_follows_its_own_side",),
    ),
)
