"""Mutants of a worker process at work: its claims, its slots, and how runs end."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_DISPATCHER = "runtime/dispatcher.py"
_SLOTS = "runtime/slots.py"
_QUEUE = "runtime/local_queue.py"
_OUTCOMES_OF_RUNS = "runtime/outcomes.py"
_OUTCOMES = "model/outcomes.py"
_DISPATCH = "runtime/test_dispatcher.py"
_MAPS = "runtime/test_outcomes.py"
_WRITES = "runtime/test_outcomes.py"

MUTANTS = (
    # -- the dispatcher ----------------------------------------------------------------
    Mutant(
        "a claim that outlasts the lease starts",
        _DISPATCHER,
        "        if self._state.may_claim() and asked_at",
        "        if asked_at",
        (f"{_DISPATCH}::test_a_claim_that_outlasts_the_lease_goes_back_unstarted",),
    ),
    Mutant(
        "a claim starts although a beat came too late meanwhile",
        _DISPATCHER,
        "asked_at >= self._state.returned_at",
        "asked_at",
        (
            (
                f"{_DISPATCH}::test_a_claim_in_which_a_lease_ran_out"
                "_goes_back_although_it_beats_again"
            ),
        ),
    ),
    Mutant(
        "jobs claimed ahead start after the lease",
        _SLOTS,
        "if not self._state.is_fresh:",
        "if self._closing:",
        (f"{_DISPATCH}::test_jobs_claimed_ahead_do_not_start_after_the_lease",),
    ),
    Mutant(
        "a claim under way at the stop starts",
        _SLOTS,
        "if not self._state.is_claiming:",
        "if self._closing:",
        (f"{_DISPATCH}::test_a_claim_under_way_at_the_stop_goes_back_unstarted",),
    ),
    Mutant(
        "a claim that failed is forgotten",
        _DISPATCHER,
        "                schedule.maybe_ready.update(demand)\n",
        "",
        (f"{_DISPATCH}::test_a_claim_that_failed_is_made_again",),
    ),
    Mutant(
        "outcomes are blamed while the database is away",
        _OUTCOMES_OF_RUNS,
        "            except NO_FAULT_OF_ROWS:\n                raise\n",
        "",
        (f"{_WRITES}::test_nothing_is_blamed_on_a_storage_that_is_away",),
    ),
    Mutant(
        "an outcome whose write failed is refused when it is stored",
        _DISPATCHER,
        "                update.was_tried = True\n",
        "                pass\n",
        (
            (
                f"{_DISPATCH}"
                "::test_an_outcome_whose_write_failed_may_be_stored_all_the_same"
            ),
        ),
    ),
    Mutant(
        "outcomes that come while others are mapped are forgotten",
        _OUTCOMES_OF_RUNS,
        "del state.ended[: len(ended)]  #",
        "state.ended.clear()  #",
        (f"{_WRITES}::test_what_ends_while_others_are_mapped_is_not_forgotten",),
    ),
    Mutant(
        "the pause does not grow while the database is away",
        "runtime/service.py",
        "max(self.pause_s * 2, self._first_s)",
        "max(self.pause_s, self._first_s)",
        ("runtime/test_service.py",),
    ),
    Mutant(
        "a process that ends rests for half a minute",
        _DISPATCHER,
        "longest_s = LONGEST_S if self._ends_at is None else FIRST_S",
        "longest_s = LONGEST_S",
        (
            f"{_DISPATCH}::test_a_dispatcher_that_ends_rests_for_the_first_pause_at_most",
        ),
    ),
    # -- slots -------------------------------------------------------------------------
    Mutant(
        "a run that has just ended is abandoned all the same",
        _SLOTS,
        "if queue.running.get(execution.slot) is not execution:",
        "if execution.is_abandoned:",
        (
            (
                "runtime/test_slots.py"
                "::test_abandon_of_a_run_that_has_ended_changes_nothing"
            ),
        ),
    ),
    Mutant(
        "the outcome of an abandoned run is handed in",
        _SLOTS,
        "                if ended.is_abandoned:\n",
        "                if ended.is_abandoned and self._closing:\n",
        (
            (
                "runtime/test_slots.py"
                "::test_abandon_frees_the_slot_and_drops_the_late_outcome"
            ),
        ),
    ),
    Mutant(
        "the first queue is always served first",
        _SLOTS,
        "            self._order.append(self._order.pop(0))\n            return wanted",
        "            return wanted",
        (
            (
                "runtime/test_slots.py"
                "::test_demand_shares_the_threads_between_queues_in_turn"
            ),
        ),
    ),
    Mutant(
        "a job that waits for a slot leaves room for another",
        _QUEUE,
        "max(self.limit - len(self.running) - len(self.buffer), 0)",
        "max(self.limit - len(self.running), 0)",
        ("runtime/test_local_queue.py",),
    ),
    Mutant(
        "the successor of an abandoned run has its id",
        _QUEUE,
        "        self._incarnations[execution.slot] += 1\n",
        "",
        (
            (
                "runtime/test_local_queue.py"
                "::test_the_successor_of_an_abandoned_run_has_another_incarnation"
            ),
        ),
    ),
    Mutant(
        "a job that may run once waits for a slot",
        _QUEUE,
        "return job.attempts < job.max_attempts and",
        "return",
        ("runtime/test_local_queue.py::test_who_may_wait",),
    ),
    Mutant(
        "a job in its last attempt waits for a slot",
        _QUEUE,
        "return job.attempts < job.max_attempts and",
        "return job.max_attempts > 1 and",
        ("runtime/test_local_queue.py::test_who_may_wait",),
    ),
    Mutant(
        "a job that a worker died under waits for a slot",
        _QUEUE,
        " and not job.crashes",
        "",
        ("runtime/test_local_queue.py::test_who_may_wait",),
    ),
    Mutant(
        "jobs that wait already are claimed ahead once more",
        _QUEUE,
        "min(start - waiting, fit)",
        "min(start, fit)",
        (
            (
                "runtime/test_prefetch.py"
                "::test_jobs_that_wait_already_are_not_prefetched_again"
            ),
        ),
    ),
    Mutant(
        "jobs are claimed ahead one by one",
        _QUEUE,
        "        if waiting > _ENOUGH * start:\n            return 0\n",
        "",
        (
            (
                "runtime/test_prefetch.py"
                "::test_jobs_that_wait_already_are_not_prefetched_again"
            ),
        ),
    ),
    Mutant(
        "payloads that wait already are claimed ahead once more",
        _QUEUE,
        "self._most_bytes - waiting_bytes",
        "self._most_bytes",
        ("runtime/test_local_queue.py::test_how_many_are_claimed_ahead",),
    ),
    Mutant(
        "slow jobs are claimed ahead",
        _QUEUE,
        "if self._mean_s is None or self._mean_s >= HORIZON_S:",
        "if self._mean_s is None:",
        ("runtime/test_prefetch.py::test_prefetch_takes_nothing_for_slow_tasks",),
    ),
    Mutant(
        "a task with a process to end loses its slot first",
        "runtime/dispatcher.py",
        "max(self._cancel_grace_s, self._stop_limit_s(job))",
        "self._cancel_grace_s",
        (
            (
                "runtime/test_time_limits.py"
                "::test_a_task_that_ends_a_process_of_its_own_has_the_time_for_it"
            ),
        ),
    ),
    # -- how runs end ------------------------------------------------------------------
    Mutant(
        "the outcome of a lost run is written",
        _OUTCOMES_OF_RUNS,
        "        if reason is CancelReason.LOST:\n",
        "        if reason is CancelReason.LOST and not outcome:\n",
        (f"{_MAPS}::test_it_writes_nothing_for_a_lost_job",),
    ),
    Mutant(
        "nothing follows a job whose last outcome cannot be used",
        _OUTCOMES_OF_RUNS,
        "        if update.status is not JobStatus.DONE:\n            update.follow",
        "        if update.status is not JobStatus.DONE and not str(update.error)"
        ".startswith(UNUSABLE_MESSAGE):\n            update.follow",
        ((f"{_MAPS}::test_what_cannot_be_used_in_the_last_attempt_has_its_follow_up"),),
    ),
    Mutant(
        "work that was done at the stop is done again",
        _OUTCOMES_OF_RUNS,
        "        if not isinstance(outcome, Done):\n",
        "        if reason is not None:\n",
        (f"{_MAPS}::test_it_lets_finished_work_stand",),
    ),
    Mutant(
        "what a shutdown stopped counts as failed",
        _OUTCOMES_OF_RUNS,
        "                outcome = Released()\n",
        '                outcome = Failed("stopped")\n',
        (f"{_MAPS}::test_it_makes_a_release_of_what_a_shutdown_stopped",),
    ),
    Mutant(
        "an outcome that cannot be stored is tried for ever",
        _OUTCOMES_OF_RUNS,
        "        if update.error == UNSTORABLE_MESSAGE:\n            return []\n",
        "",
        (f"{_MAPS}::test_an_unstorable_outcome_is_replaced_once",),
    ),
    Mutant(
        "the time limit of a task comes before that of its job",
        "runtime/execution.py",
        "        if job.timeout_s is not None:\n            return job.timeout_s\n",
        "",
        (
            (
                "runtime/test_execution.py"
                "::test_the_time_limit_of_a_job_comes_before_its_task_s"
            ),
        ),
    ),
    Mutant(
        "a clean-up that fails undoes work that is done",
        "runtime/execution.py",
        "            if outcome is None:  #",
        "            if error is not None:  #",
        (
            (
                "runtime/test_execution.py"
                "::test_a_scope_that_fails_at_its_end_leaves_the_outcome"
            ),
        ),
    ),
    Mutant(
        "the last reason to stop wins",
        "tasks/context.py",
        "            if self._reason is not None:\n                return False\n",
        "",
        ("tasks/test_context.py::test_first_reason_wins",),
    ),
    Mutant(
        "an error is cut in the middle of a character",
        _OUTCOMES,
        'return encoded[:longest_bytes].decode("utf-8", "ignore")',
        'return encoded[:longest_bytes].decode("utf-8", "replace")',
        ("model/test_outcomes.py",),
    ),
    Mutant(
        "an error may hold a NUL character",
        _OUTCOMES,
        r'text.replace("\x00", "\ufffd").encode(',
        "text.encode(",
        ("model/test_outcomes.py",),
    ),
)
