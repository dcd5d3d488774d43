"""Mutants of what keeps jobs from being lost: heartbeats, leases, reapers, strays."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_HEARTBEAT = "runtime/heartbeat.py"
_WORKERS = "runtime/workers.py"
_STATE = "runtime/state.py"
_COMMON = "storage/sql/common/job_queue.sql"
_LEASES = "storage/sql/common/leases.sql"
_BEATS = "runtime/test_heartbeat.py"
_REAPS = "runtime/test_reaper.py"
_LOST = "runtime/test_lost_answers.py"
_TURNS = "runtime/test_dispatcher.py"
_FENCING = "contract/test_fencing.py"

MUTANTS = (
    # -- heartbeats --------------------------------------------------------------------
    Mutant(
        "jobs are renewed once a lease",
        _HEARTBEAT,
        "beat_s = state.lease_s / BEATS_PER_LEASE",
        "beat_s = state.lease_s",
        (
            (
                "runtime/test_heartbeat.py"
                "::test_with_a_short_lease_it_shows_itself_as_often_as_it_beats"
            ),
        ),
    ),
    Mutant(
        "a beat is counted at its end",
        _HEARTBEAT,
        "            self._state.note_beat(now, leased_from)\n",
        "            self._state.note_beat(now, self._clock.since_boot())\n",
        ("runtime/test_heartbeat.py::test_a_beat_counts_from_its_begin",),
    ),
    Mutant(
        "a process counts as shown from the end of its beat on",
        _HEARTBEAT,
        "        state.shown_at = now\n",
        "        state.shown_at = self._clock.monotonic()\n",
        ("runtime/test_heartbeat.py::test_a_beat_counts_from_its_begin",),
    ),
    Mutant(
        "others are silent while a worker's own outcomes are refused",
        "runtime/handle.py",
        "written_until=lambda: self._state.written_until",
        "written_until=lambda: self._state.last_beat_at",
        (f"{_LOST}::test_nobody_is_silent_while_a_worker_is_refused_its_own_writes",),
    ),
    Mutant(
        "a worker that was refused once never calls another silent again",
        "runtime/dispatcher.py",
        "        self._state.unanswered_since = None\n",
        "",
        (f"{_TURNS}::test_a_worker_whose_outcomes_are_refused_proves_nobody_silent",),
    ),
    Mutant(
        "a process believes in its lease after its host has slept",
        _STATE,
        "return self.clock.since_boot() - self.leased_from <",
        "return self.clock.monotonic() - self.last_beat_at <",
        (
            (
                "runtime/test_state.py"
                "::test_a_host_that_slept_for_a_lease_starts_nothing_that_waited"
            ),
        ),
    ),
    Mutant(
        "a clock that steps back prolongs the lease of a dead holder",
        "storage/sql/common/leases.sql",
        "    OR forge_lease.expires_at > excluded.expires_at\n",
        "",
        (
            (
                "contract/test_leases.py"
                "::test_a_clock_that_steps_back_prolongs_no_lease_of_a_dead_holder"
            ),
        ),
    ),
    Mutant(
        "a clock that steps back takes the lease from its holder",
        "storage/sql/common/leases.sql",
        "WHEN forge_lease.expires_at <= :now THEN excluded.holder",
        "WHEN TRUE THEN excluded.holder",
        (
            (
                "contract/test_leases.py"
                "::test_a_clock_that_steps_back_takes_no_lease_from_a_live_holder"
            ),
        ),
    ),
    Mutant(
        "a process is believed for two leases",
        _STATE,
        "since_boot() - self.leased_from < self.lease_s",
        "since_boot() - self.leased_from < 2 * self.lease_s",
        (f"{_BEATS}::test_freshness_ends_a_lease_after_the_last_beat",),
    ),
    Mutant(
        "jobs that waited through a silence start after the next beat",
        _STATE,
        "            self.give_back_waiting()\n        self.last_beat_at",
        "        self.last_beat_at",
        (f"{_BEATS}::test_the_beat_that_ends_a_silence_gives_back_what_waits",),
    ),
    Mutant(
        "a tick waits for the database for a whole lease",
        _HEARTBEAT,
        "TICK_PART = 0.5",
        "TICK_PART = 1.0",
        (f"{_BEATS}::test_a_tick_has_half_a_lease_for_all_it_asks",),
    ),
    Mutant(
        "a tick that hangs is noticed when the lease is over",
        _HEARTBEAT,
        "longest_s = self._state.lease_s - 1.5 * self._beat.length_s",
        "longest_s = self._state.lease_s",
        (f"{_BEATS}::test_a_tick_that_hangs_is_stuck_before_the_lease_ends",),
    ),
    Mutant(
        "a process whose database is away counts as stuck",
        _HEARTBEAT,
        "is_broken = isinstance(error, StorageMovedError)",
        "is_broken = True",
        (f"{_BEATS}::test_ticks_that_fail_are_stuck_unless_it_is_the_storage",),
    ),
    Mutant(
        "an ended run is cancelled as lost",
        _HEARTBEAT,
        "if not is_ours and id(execution) in running:",
        "if not is_ours:",
        (
            (
                "runtime/test_heartbeat.py"
                "::test_a_run_that_ends_while_the_beat_is_asked_is_not_lost"
            ),
        ),
    ),
    Mutant(
        "a lost run is known by its job alone",
        _HEARTBEAT,
        "is_ours = execution.job.run_id in report.owned",
        "is_ours = execution.job.id in {run.job_id for run in report.owned}",
        (
            (
                f"{_BEATS}"
                "::test_a_job_that_was_claimed_again_by_us_is_lost_for_its_first_run"
            ),
        ),
    ),
    Mutant(
        "progress is reported over and over",
        _HEARTBEAT,
        "text, execution.progress = execution.progress, None",
        "text = execution.progress",
        (f"{_BEATS}::test_progress_is_stored_within_a_tick",),
    ),
    # -- reapers -----------------------------------------------------------------------
    Mutant(
        "jobs are reaped at half a lease",
        _WORKERS,
        "self._job_ages.older_than(self._lease_s)",
        "self._job_ages.older_than(self._lease_s / 2)",
        (
            (
                "runtime/test_reaper.py"
                "::test_revives_in_progress_job_with_stale_heartbeat"
            ),
        ),
    ),
    Mutant(
        "jobs of a worker that shows itself are rescued",
        _WORKERS,
        "            if running[key].worker_id not in alive\n",
        "",
        (f"{_REAPS}::test_workers_may_have_different_leases",),
    ),
    Mutant(
        "a job that cannot be rescued holds up the others",
        "storage/jobs/queue.py",
        "                    failed += piece\n",
        "                    raise\n",
        (f"{_REAPS}::test_a_job_that_cannot_be_rescued_holds_up_no_other",),
    ),
    Mutant(
        "a worker shows itself although it cannot renew its jobs",
        _HEARTBEAT,
        "            self._unwritten = progress\n            raise\n",
        "            self._unwritten = progress\n            return\n",
        (
            (
                f"{_BEATS}"
                "::test_a_process_that_cannot_renew_its_jobs_does_not_show_itself"
            ),
        ),
    ),
    Mutant(
        "a reference to a job keeps it from beating",
        _COMMON,
        "/* for_no_key_update */",
        "/* for_update */",
        (
            (
                "storage/postgres/test_locks.py"
                "::test_a_reference_to_a_job_does_not_keep_it_from_beating"
            ),
        ),
    ),
    Mutant(
        "workers are reaped at half a lease",
        _WORKERS,
        "self._worker_ages.older_than(self._lease_s)",
        "self._worker_ages.older_than(self._lease_s / 2)",
        ("runtime/test_reaper.py::test_a_process_has_a_lease_to_beat_again",),
    ),
    Mutant(
        "a reaper that was stopped takes its own pause for silence",
        _WORKERS,
        "_Intervals(written_until, 2 * lease_s / SWEEPS_PER_LEASE)",
        "_Intervals(written_until, 1e9)",
        (f"{_REAPS}::test_a_reaper_that_was_stopped_itself_proves_nothing",),
    ),
    Mutant(
        "an interval with an error in it counts as silence",
        _WORKERS,
        "last, self._counted_until = self._counted_until, None  #",
        "last = self._counted_until  #",
        (f"{_REAPS}::test_an_error_voids_the_interval_it_happened_in",),
    ),
    Mutant(
        "silence counts while nobody can write",
        _WORKERS,
        "elapsed_s = 0.0 if last is None else max(until - last, 0.0)",
        "elapsed_s = 0.0 if last is None else self._longest_s / 2",
        (f"{_REAPS}::test_silence_proves_nothing_while_nobody_can_write",),
    ),
    Mutant(
        "what the database calls old is reaped at once",
        _WORKERS,
        "OLD_COUNTS_FOR = 2 / 3",
        "OLD_COUNTS_FOR = 1",
        (f"{_REAPS}::test_a_jump_of_the_databases_clock_ends_no_living_job",),
    ),
    Mutant(
        "what the database calls old is never believed",
        _WORKERS,
        "for key, age_s in ages_s.items() if age_s >= limit_s}",
        "for key, age_s in ages_s.items() if age_s < 0}",
        (f"{_REAPS}::test_no_reaper_need_live_for_a_lease",),
    ),
    Mutant(
        "the last interval counts although the counter has moved",
        _WORKERS,
        "age_s + elapsed_s if before == heartbeat else 0.0",
        "age_s + elapsed_s if before == heartbeat else elapsed_s",
        ("runtime/test_workers.py::test_ages_count_from_the_last_change",),
    ),
    Mutant(
        "a job that has beaten since the look is rescued",
        _COMMON,
        "    AND forge_job.attempts = v.run\n"
        "    AND COALESCE(forge_job.heartbeat_at, 0) = v.seen_at\n",
        "    AND forge_job.attempts = v.run\n",
        (f"{_FENCING}::test_rescue_leaves_a_run_that_has_moved_since",),
    ),
    Mutant(
        "a rescue does not count the crash",
        _COMMON,
        "    crashes = crashes + 1,\n",
        "",
        (f"{_FENCING}::test_a_job_whose_worker_dies_three_times_is_not_tried_again",),
    ),
    Mutant(
        "a job may kill four processes",
        "storage/jobs/finish.py",
        "elif crashes + 1 >= MAX_CRASHES:",
        "elif crashes + 1 > MAX_CRASHES:",
        (f"{_FENCING}::test_a_job_whose_worker_dies_three_times_is_not_tried_again",),
    ),
    Mutant(
        "a rescue gives an attempt too many",
        "storage/jobs/finish.py",
        "JobStatus.FAILED if attempts < max_attempts",
        "JobStatus.FAILED if attempts <= max_attempts",
        (f"{_FENCING}::test_rescue_of_the_last_attempt_ends_dead",),
    ),
    Mutant(
        "a cancelled job whose process died is tried again",
        "storage/jobs/finish.py",
        "if asked_at is not None:",
        "if asked_at is not None and attempts >= max_attempts:",
        (f"{_FENCING}::test_a_cancel_outlives_the_worker",),
    ),
    Mutant(
        "jobs of a second crash come back together",
        "storage/jobs/finish.py",
        "        suspects += is_suspect\n",
        "",
        (f"{_FENCING}::test_jobs_of_a_second_crash_come_back_one_by_one",),
    ),
    Mutant(
        "a permit of a dead process calls nobody in",
        "storage/jobs/finish.py",
        "release_waiters(transaction, [key for _, key in changed if key])",
        "release_waiters(transaction, [])",
        (
            (
                "contract/test_concurrency_limits.py"
                "::test_a_permit_that_a_dead_process_had_calls_somebody_in"
            ),
        ),
    ),
    Mutant(
        "slots without a process stay",
        "storage/workers.py",
        'return slots + transaction.run("drop_orphan_slots")',
        "return slots",
        ("contract/test_workers.py::test_reap_takes_the_silent_and_the_orphans",),
    ),
    Mutant(
        "an observer that was stopped takes everybody for gone",
        _WORKERS,
        "_Intervals(written_until, SILENT_S)",
        "_Intervals(written_until, 1e9)",
        ("runtime/test_workers.py::test_an_observer_that_was_stopped_begins_anew",),
    ),
    # -- leases ------------------------------------------------------------------------
    Mutant(
        "a lease that is asked for in vain runs longer",
        _LEASES,
        "OR forge_lease.expires_at <= :now",
        "OR forge_lease.expires_at > :now",
        ("contract/test_leases.py::test_an_expired_lease_is_anybodys",),
    ),
    Mutant(
        "a holder cannot renew its lease",
        _LEASES,
        "    expires_at = excluded.expires_at\n",
        "    expires_at = forge_lease.expires_at\n",
        ("contract/test_leases.py::test_a_holder_renews_its_lease",),
    ),
    Mutant(
        "a lease is given back by anybody",
        _LEASES,
        "WHERE name = :name AND holder = :holder\n",
        "WHERE name = :name\n",
        (
            (
                "contract/test_leases.py"
                "::test_a_lease_is_one_holders_until_it_is_released"
            ),
        ),
    ),
    Mutant(
        "a leader counts its lease from the answer on",
        _WORKERS,
        "self._leads_until = asked_at +",
        "self._leads_until = self._clock.monotonic() +",
        (
            (
                "runtime/test_leader.py"
                "::test_a_leader_counts_its_lease_from_before_it_asks"
            ),
        ),
    ),
    Mutant(
        "a leader believes a clock that can be set back",
        _WORKERS,
        "        return until is not None and self._clock.since_boot() < until\n\n"
        "    def tick(self) -> None:\n"
        '        """Take or renew the lease."""\n'
        "        led_before = self.is_leader\n"
        "        asked_at = self._clock.since_boot()  #",
        "        return until is not None and self._clock.now_us() / 1e6 < until\n\n"
        "    def tick(self) -> None:\n"
        '        """Take or renew the lease."""\n'
        "        led_before = self.is_leader\n"
        "        asked_at = self._clock.now_us() / 1e6  #",
        ("runtime/test_leader.py::test_a_clock_that_is_set_back_prolongs_no_lease",),
    ),
    Mutant(
        "a leader that stops keeps the others waiting",
        _WORKERS,
        "        self._leases.release(LEADER_LEASE, self._worker_id)\n",
        "",
        ("runtime/test_leader.py::test_a_leader_that_stops_is_followed_at_once",),
    ),
    Mutant(
        "a leader leads on when another one has the lease",
        _WORKERS,
        "asked_at + LEADER_LEASE_S if has_lease else None",
        "asked_at + LEADER_LEASE_S",
        ("runtime/test_leader.py::test_one_leads_and_renews",),
    ),
    # -- strays ------------------------------------------------------------------------
    Mutant(
        "a job of a claim under way is given back",
        _HEARTBEAT,
        "                if self._state.claims.have_ended(newest)\n",
        "                if newest >= 0\n",
        ("runtime/test_strays.py::test_a_job_of_a_claim_under_way_may_still_arrive",),
    ),
    Mutant(
        "a stray waits for claims that began after it was found",
        _HEARTBEAT,
        "run: self._found.get(run, newest) for run in owned",
        "run: newest for run in owned",
        ("runtime/test_strays.py::test_a_claim_that_began_later_cannot_bring_it",),
    ),
    Mutant(
        "a job that has become known is given back as a stray",
        _HEARTBEAT,
        "if job.run_id in due and job.run_id not in known",
        "if job.run_id in due",
        ("runtime/test_strays.py",),
    ),
    Mutant(
        "a claim counts as over while it is under way",
        _STATE,
        "newest < self.newest or",
        "newest <= self.newest or",
        (
            (
                "runtime/test_state.py"
                "::test_a_claim_is_under_way_from_its_begin_to_its_end"
            ),
        ),
    ),
)
