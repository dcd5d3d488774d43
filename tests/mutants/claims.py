"""Mutants of the hot path: which job is claimed, and who may end a run."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_COMMON = "storage/sql/common/job_queue.sql"
_SQLITE = "storage/sql/sqlite/job_queue.sql"
_POSTGRES = "storage/sql/migrations/postgres/0001_foundation.sql"
_QUEUE = "storage/jobs/queue.py"
_FINISHING = "storage/jobs/finish.py"
_JOBS = "contract/jobs/test_queue.py"
_FENCING = "contract/test_fencing.py"
_LOCKS = "storage/postgres/test_locks.py"

MUTANTS = (
    # -- what is handed out ------------------------------------------------------------
    Mutant(
        "SQLite claims by age before priority",
        _SQLITE,
        "ORDER BY priority, scheduled_at, id\n    LIMIT :limit",
        "ORDER BY scheduled_at, priority, id\n    LIMIT :limit",
        (f"{_JOBS}::test_claim_orders_by_priority_then_due_time",),
    ),
    Mutant(
        "PostgreSQL claims by age before priority",
        _POSTGRES,
        "ORDER BY priority, scheduled_at, id\n        LIMIT most",
        "ORDER BY scheduled_at, priority, id\n        LIMIT most",
        (f"{_JOBS}::test_claim_orders_by_priority_then_due_time",),
    ),
    Mutant(
        "claimed jobs are returned by age before priority",
        _QUEUE,
        "key=lambda job: (job.priority, job.scheduled_at_us, job.id)",
        "key=lambda job: (job.scheduled_at_us, job.priority, job.id)",
        (f"{_JOBS}::test_claim_orders_by_priority_then_due_time",),
    ),
    Mutant(
        "SQLite claims from a paused queue",
        _SQLITE,
        "(paused OR throttled_until > :now)",
        "(throttled_until > :now)",
        (f"{_JOBS}::test_a_paused_queue_hands_out_nothing",),
    ),
    Mutant(
        "PostgreSQL claims from a queue that cools down",
        _POSTGRES,
        "(paused OR throttled_until > now_us)",
        "paused",
        (
            (
                "contract/test_cooldowns.py"
                "::test_a_throttle_gates_the_queue_and_a_success_within_it_changes_nothing"
            ),
        ),
    ),
    Mutant(
        "SQLite claims a job before it is due",
        _SQLITE,
        "AND status IN ('pending', 'failed') AND NOT deferred\n",
        "AND status IN ('pending', 'failed')\n",
        (f"{_JOBS}::test_claim_skips_a_job_scheduled_later",),
    ),
    Mutant(
        "a job is promoted before it is due",
        _SQLITE,
        "WHERE deferred AND queue_name = :queue_name AND scheduled_at <= :now\n",
        "WHERE deferred AND queue_name = :queue_name\n",
        ("contract/jobs/test_queue.py::test_claim_skips_a_job_scheduled_later",),
    ),
    Mutant(
        "PostgreSQL claims without a lock on the rows",
        _POSTGRES,
        "LIMIT most\n        FOR UPDATE OF forge_job SKIP LOCKED",
        "LIMIT most",
        ("contract/test_concurrency.py::test_two_claimers_never_get_the_same_job",),
    ),
    Mutant(
        "PostgreSQL does not count claims",
        _POSTGRES,
        "        claims = job.claims + 1, worker_id = new_worker,",
        "        worker_id = new_worker,",
        (f"{_FENCING}::test_a_run_that_was_given_back_cannot_end_the_next_one",),
    ),
    Mutant(
        "PostgreSQL keeps the progress of the last run",
        _POSTGRES,
        "completed_at = NULL,\n        progress = NULL",
        "completed_at = NULL",
        (f"{_JOBS}::test_claim_clears_what_the_last_run_left",),
    ),
    Mutant(
        "a claim takes one job more than it was told",
        _QUEUE,
        '"claim", queue_name=queue_name, worker_id=worker_id, limit=limit\n'
        "                )",
        '"claim", queue_name=queue_name, worker_id=worker_id, limit=limit + 1\n'
        "                )",
        (f"{_JOBS}::test_claim_takes_no_more_than_the_limit",),
    ),
    Mutant(
        "the next due job of all queues is the last one",
        _QUEUE,
        "return min(waits) / SECOND_US if waits else None",
        "return max(waits) / SECOND_US if waits else None",
        (f"{_JOBS}::test_next_due_is_the_wait_of_the_first_deferred_job",),
    ),
    # -- how a run ends ----------------------------------------------------------------
    Mutant(
        "PostgreSQL lets anybody finish a run",
        _POSTGRES,
        "        AND coalesce(job.worker_id, '') = its_worker\n"
        "        AND job.claims = v.run\n",
        "        AND job.claims = v.run\n",
        (f"{_FENCING}::test_only_the_owner_may_finish",),
    ),
    Mutant(
        "SQLite lets anybody finish a run",
        _SQLITE,
        "    AND COALESCE(forge_job.worker_id, '') = :worker_id\n",
        "",
        (f"{_FENCING}::test_only_the_owner_may_finish",),
    ),
    Mutant(
        "PostgreSQL finishes without the fence of the claim",
        _POSTGRES,
        "        AND job.claims = v.run\n",
        "",
        (f"{_FENCING}::test_a_run_that_was_given_back_cannot_end_the_next_one",),
    ),
    Mutant(
        "SQLite finishes by the attempt and not by the claim",
        _SQLITE,
        "AND forge_job.claims = v.run",
        "AND forge_job.attempts = v.run",
        (f"{_FENCING}::test_a_run_that_was_given_back_cannot_end_the_next_one",),
    ),
    Mutant(
        "SQLite finishes a cancelled run as if nobody had asked",
        _SQLITE,
        "    AND (\n        forge_job.cancel_requested_at IS NULL"
        " OR v.new_status IN ('done', 'dead')\n    )\n",
        "",
        (f"{_FENCING}::test_a_cancel_outlives_the_end_of_the_run",),
    ),
    Mutant(
        "finish_cancelled without the fence of the claim",
        _COMMON,
        "    AND forge_job.claims = v.run\n    AND (forge_job.cancel_requested_at",
        "    AND (forge_job.cancel_requested_at",
        (f"{_FENCING}::test_a_cancelled_run_can_only_be_ended_by_its_worker",),
    ),
    Mutant(
        "finish_cancelled for anybody",
        _COMMON,
        "    AND COALESCE(forge_job.worker_id, '') = :worker_id\n"
        "    AND forge_job.claims = v.run\n    AND (forge_job.cancel_requested_at",
        "    AND forge_job.claims = v.run\n    AND (forge_job.cancel_requested_at",
        (f"{_FENCING}::test_a_cancelled_run_can_only_be_ended_by_its_worker",),
    ),
    Mutant(
        "settled without the fence of the claim",
        _COMMON,
        "forge_job.status = v.new_status AND forge_job.claims = v.run\n",
        "forge_job.status = v.new_status\n",
        (
            (
                f"{_FENCING}"
                "::test_an_outcome_that_was_tried_is_refused_if_another_run_ended_like_it"
            ),
        ),
    ),
    Mutant(
        "settled takes the error of a reaper for its own",
        _COMMON,
        "\n        OR SUBSTR(forge_job.last_error, 1, LENGTH(v.error)) = v.error",
        "\n        OR v.error <> ''",
        (
            (
                f"{_FENCING}"
                "::test_an_outcome_that_was_tried_in_vain_is_refused_once_the_job_is_lost"
            ),
        ),
    ),
    Mutant(
        "a repeated write does not look for what it has stored",
        _FINISHING,
        "is_again = self._transaction.attempt > 0",
        "is_again = self._transaction.attempt > 1",
        (f"{_FENCING}::test_an_outcome_after_an_unclear_commit_is_not_refused",),
    ),
    Mutant(
        "an outcome that was tried before is not looked for",
        _FINISHING,
        "for each in missing if is_again or each.was_tried]",
        "for each in missing if is_again]",
        (
            (
                f"{_FENCING}"
                "::test_an_outcome_that_was_tried_before_is_not_refused_if_it_is_stored"
            ),
        ),
    ),
    Mutant(
        "a late throttle opens a cool-down",
        _FINISHING,
        "            if update.job.id in finished:\n",
        "            if update.job.id:\n",
        (f"{_FENCING}::test_a_late_throttle_does_not_open_a_cooldown",),
    ),
    Mutant(
        "an outcome that is refused frees a permit",
        _FINISHING,
        "            if e.concurrency_key and e.job.id in finished\n",
        "            if e.concurrency_key\n",
        (
            (
                "contract/test_concurrency_limits.py"
                "::test_an_outcome_that_is_refused_calls_nobody_in"
            ),
        ),
    ),
    Mutant(
        "a job that is given back wakes nobody",
        _FINISHING,
        "            transaction.wake(queue_name)\n",
        "            del queue_name\n",
        (f"{_JOBS}::test_a_released_job_wakes_the_workers_of_its_queue",),
    ),
    Mutant(
        "PostgreSQL never forgets the throttles of a job",
        _POSTGRES,
        "throttle_attempts = CASE\n"
        "            WHEN v.new_status = 'done' THEN 0"
        " ELSE job.throttle_attempts + v.throttled\n        END,",
        "throttle_attempts = job.throttle_attempts + v.throttled,",
        (f"{_JOBS}::test_done_forgets_the_throttles",),
    ),
    Mutant(
        "SQLite counts the attempt of a job that is given back",
        _SQLITE,
        "ELSE attempts - json_extract(run_end, '$.uncount')",
        "ELSE attempts",
        (f"{_JOBS}::test_released_is_due_at_once_with_its_attempt_back",),
    ),
    Mutant(
        "SQLite retries at once",
        _SQLITE,
        "ELSE COALESCE(json_extract(run_end, '$.delay_us') > 0, FALSE)",
        "ELSE FALSE",
        (f"{_JOBS}::test_failed_waits_and_notes_the_error",),
    ),
    Mutant(
        "SQLite forgets the errors of a job that is done",
        _SQLITE,
        "WHEN v.new_status = 'done' THEN error_history",
        "WHEN v.new_status = 'done' THEN '[]'",
        (f"{_JOBS}::test_done_keeps_the_errors_of_earlier_runs",),
    ),
    Mutant(
        "a beat renews the jobs of others",
        _COMMON,
        "WHERE status = 'in_progress' AND worker_id = :worker_id\n    ORDER BY id\n",
        "WHERE status = 'in_progress'\n    ORDER BY id\n",
        (f"{_JOBS}::test_heartbeat_renews_all_runs_of_one_owner",),
    ),
    Mutant(
        "progress is stored for a run of somebody else",
        _QUEUE,
        "                if job_id in locked\n",
        "",
        (f"{_JOBS}::test_heartbeat_stores_progress_of_own_runs_only",),
    ),
    Mutant(
        "requests to stop are heard by everybody",
        _COMMON,
        "cancel_requested_at IS NOT NULL\n    AND worker_id = :worker_id\n",
        "cancel_requested_at IS NOT NULL\n",
        (f"{_FENCING}::test_a_cancel_reaches_the_owner_by_its_heartbeat",),
    ),
    Mutant(
        "a beat has to wait for a connection like everybody",
        _QUEUE,
        "return self._database.write(work, urgent=True)",
        "return self._database.write(work)",
        (
            (
                "storage/postgres/test_database.py"
                "::test_a_used_up_pool_is_busy_and_an_urgent_write_still_runs"
            ),
        ),
    ),
    # -- the order of locks ----------------------------------------------------------
    Mutant(
        "outcomes write to one job before they wait for another",
        _FINISHING,
        "if len(updates) > 1 and any(each.job.has_key for each in updates):",
        "if len(updates) > 1 and all(each.job.has_key for each in updates):",
        (f"{_LOCKS}::test_outcomes_between_a_bulk_verb_and_those_who_take_keys",),
    ),
    Mutant(
        "no claim on PostgreSQL tells of a key",
        _POSTGRES,
        "        job.dedupe_key IS NOT NULL, job.crashes;",
        "        FALSE, job.crashes;",
        (f"{_JOBS}::test_claim_tells_which_jobs_have_a_dedupe_key",),
    ),
    Mutant(
        "a claim waits for a lock as long as the server lets it",
        _POSTGRES,
        "SET lock_timeout = '200ms'\nAS $$\n#variable",
        "AS $$\n#variable",
        (f"{_LOCKS}::test_a_claim_gives_up_before_the_server_looks_for_deadlocks",),
    ),
    Mutant(
        "a queue's jobs are deleted one by one as they are locked",
        "storage/sql/common/queues.sql",
        "\n    AND (SELECT COUNT(*) FROM locked) > 0\nRETURNING id\n\n-- name: delete_",
        "\nRETURNING id\n\n-- name: delete_",
        (f"{_LOCKS}::test_the_end_of_a_queue_and_those_who_take_keys",),
    ),
    Mutant(
        "a retry takes keys in the order of the jobs",
        "storage/sql/common/job_admin.sql",
        "WHERE forge_job.id >= v.job_id AND forge_job.id <= v.job_id\n"
        "    AND COALESCE(forge_job.status, '') IN ('failed', 'dead')",
        "WHERE forge_job.id = v.job_id\n"
        "    AND COALESCE(forge_job.status, '') IN ('failed', 'dead')",
        (f"{_LOCKS}::test_a_retry_and_others_that_take_the_same_keys",),
    ),
    Mutant(
        "schedules to be removed are locked behind all others",
        "storage/cron.py",
        "sorted(wanted.keys() | {name for (name,) in rows})",
        "sorted(wanted)",
        (f"{_LOCKS}::test_declarations_of_two_versions",),
    ),
    Mutant(
        "a rate limit is locked before its queue",
        "storage/queues.py",
        'transaction.defer("lock_queue", name=name)  # first, as everywhere\n',
        "pass\n",
        (f"{_LOCKS}::test_two_ways_to_delete_a_queue",),
    ),
    Mutant(
        "ids of the caller are taken as they come",
        "storage/jobs/keyed.py",
        'return (key, "") if key else ("", job_id)',
        'return (key, "") if key else ("", "")',
        (f"{_LOCKS}::test_bulk_enqueues_with_ids_of_the_caller",),
    ),
)
