"""Mutants of enqueueing: due times, keys, requests that are repeated, full queues."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_COMMON = "storage/sql/common/job_queue.sql"
_SQLITE = "storage/sql/sqlite/job_queue.sql"
_ENQUEUEING = "storage/jobs/enqueue.py"
_KEYED = "storage/jobs/keyed.py"
_ADMISSION = "storage/jobs/admission.py"
_HOLDERS = "storage/jobs/holders.py"
_TEST = "contract/jobs/test_enqueue.py"
_UNIQUE = "contract/jobs/test_dedupe.py"
_REQUESTS = "contract/jobs/test_request_keys.py"
_ADMITTING = "contract/jobs/test_queue_limits.py"
_LOCKS = "storage/postgres/test_locks.py"
_LATE = "test_a_job_to_be_replaced_that_turns_up_late_and_a_bulk_verb"

MUTANTS = (
    # -- due times ---------------------------------------------------------------------
    Mutant(
        "SQLite lets a start in the past jump the line",
        _SQLITE,
        "WHEN :run_at > :now THEN :run_at WHEN",
        "WHEN :run_at >= 0 THEN :run_at WHEN",
        ("contract/jobs/test_queue.py::test_a_past_start_does_not_jump_the_line",),
    ),
    Mutant(
        "PostgreSQL lets a start in the past jump the line",
        "storage/sql/migrations/postgres/0001_foundation.sql",
        "greatest(new_run_at, now_us - new_run_at, now_us);",
        "coalesce(new_run_at, now_us);",
        ("contract/jobs/test_queue.py::test_a_past_start_does_not_jump_the_line",),
    ),
    Mutant(
        "of many jobs a start in the past jumps the line",
        _ENQUEUEING,
        "max(start_us, now_us - start_us, now_us)",
        "max(start_us, now_us - start_us)",
        (
            (
                "contract/jobs/test_queue.py"
                "::test_a_past_start_among_many_does_not_jump_the_line"
            ),
        ),
    ),
    Mutant(
        "many jobs for later are due at once",
        _ENQUEUEING,
        "        due_us > now_us, job.max_attempts,",
        "        False, job.max_attempts,",
        (f"{_TEST}::test_enqueue_many_knows_a_deferred_start",),
    ),
    # -- keys --------------------------------------------------------------------------
    Mutant(
        "a job that waits for its retry gives its key back",
        "storage/sql/migrations/sqlite/0001_foundation.sql",
        "status IN ('pending', 'in_progress', 'failed');",
        "status IN ('pending', 'in_progress');",
        (f"{_TEST}::test_a_job_that_will_run_again_holds_its_key",),
    ),
    Mutant(
        "a running job gives its key back",
        "storage/sql/migrations/postgres/0001_foundation.sql",
        "status IN ('pending', 'in_progress', 'failed');",
        "status IN ('pending', 'failed');",
        (
            (
                "contract/jobs/test_enqueue.py"
                "::test_a_job_that_will_run_again_holds_its_key"
            ),
        ),
    ),
    Mutant(
        "a holder that waits for its retry is not found",
        _COMMON,
        "        AND status IN ('pending', 'in_progress', 'failed')\n    )\n",
        "        AND status IN ('pending', 'in_progress')\n    )\n",
        (f"{_TEST}::test_a_job_that_will_run_again_holds_its_key",),
    ),
    Mutant(
        "a key of another kind is no conflict",
        _HOLDERS,
        "    if kind != job.kind:\n        raise DuplicateJobError(",
        "    if not kind:\n        raise DuplicateJobError(",
        (f"{_TEST}::test_a_key_held_by_another_kind_is_a_conflict",),
    ),
    Mutant(
        "what is locked out of order is waited for as long as anything",
        "storage/postgres/transaction.py",
        "BRIEF_WAIT_MS = 20\n",
        "BRIEF_WAIT_MS = 0\n",
        (
            f"{_LOCKS}::test_bulk_enqueues_and_a_key_that_was_held_for_a_moment",
            f"{_LOCKS}::{_LATE}",
        ),
    ),
    Mutant(
        "a job that others have locked is replaced",
        _KEYED,
        "not may_replace(job, result) or result.id in ours",
        "not may_replace(job, result) or bool(ours)",
        (f"{_LOCKS}::{_LATE}",),
    ),
    Mutant(
        "the second job of a key tells what the first has replaced",
        _KEYED,
        "        elif result.is_deduped and result.id in last:\n",
        "        elif not result.id:\n",
        (f"{_UNIQUE}::test_a_later_job_of_the_key_tells_the_new_start",),
    ),
    Mutant(
        "of several holders in a window the oldest counts",
        _COMMON,
        "AND id <> :id\nORDER BY enqueued_at DESC, id DESC\n",
        "AND id <> :id\nORDER BY enqueued_at, id\n",
        (f"{_UNIQUE}::test_the_youngest_of_several_is_returned",),
    ),
    Mutant(
        "a job that runs is replaced",
        _COMMON,
        "    AND COALESCE(status, '') = 'pending' AND kind = :kind\n",
        "    AND kind = :kind\n",
        (f"{_UNIQUE}::test_a_job_that_has_begun_keeps_what_it_has",),
    ),
    Mutant(
        "a job of a window is looked for before it is stored only",
        _ENQUEUEING,
        "                if job.dedupe_for is not None:\n"
        "                    found = recent(",
        "                if found is not None:\n                    found = recent(",
        (
            (
                "storage/jobs/test_enqueue.py"
                "::test_a_job_that_came_and_ended_meanwhile_counts_in_the_window"
            ),
        ),
    ),
    # -- requests that are repeated ----------------------------------------------------
    Mutant(
        "another request with a known key is answered as the first",
        _ADMISSION,
        "if before != fingerprint:",
        "if not before:",
        (f"{_REQUESTS}::test_another_request_with_the_key_is_refused",),
    ),
    Mutant(
        "two callers share their request keys",
        _ADMISSION,
        'return {"caller": key.caller, ',
        'return {"caller": "", ',
        (f"{_REQUESTS}::test_keys_are_their_owners",),
    ),
    Mutant(
        "a request key is taken again before it has expired",
        "storage/sql/common/request_keys.sql",
        "WHERE forge_request_key.expires_at <= :now",
        "WHERE forge_request_key.expires_at > :now",
        (f"{_REQUESTS}::test_the_same_request_is_answered_alike",),
    ),
    Mutant(
        "request keys are kept for an hour",
        "model/request_keys.py",
        "KEPT_US = DAY_US",
        "KEPT_US = DAY_US // 24",
        (f"{_REQUESTS}::test_a_key_is_forgotten_after_a_day",),
    ),
    Mutant(
        "all expired request keys are removed at once",
        "storage/sql/common/request_keys.sql",
        "    ORDER BY expires_at\n    LIMIT :limit\n",
        "    ORDER BY expires_at\n",
        (f"{_REQUESTS}::test_expired_keys_are_removed_a_few_at_a_time",),
    ),
    Mutant(
        "a fingerprint does not know the priority",
        "model/request_keys.py",
        "                job.priority,\n",
        "",
        ("model/test_request_keys.py",),
    ),
    Mutant(
        "a replayed request is counted in the figures",
        "storage/jobs/queue.py",
        "if not each.is_deduped and not each.is_replayed",
        "if not each.is_deduped",
        (f"{_REQUESTS}::test_what_is_replayed_is_not_counted_again",),
    ),
    Mutant(
        "a request replayed in a caller's transaction is counted",
        "storage/recorder.py",
        "if not each.is_deduped and not each.is_replayed",
        "if not each.is_deduped",
        (
            (
                "contract/jobs/test_request_keys.py"
                "::test_what_is_replayed_to_a_caller_is_not_counted_again"
            ),
        ),
    ),
    Mutant(
        "a replayed request counts as a change in the audit trail",
        "api/auditor.py",
        "        response.headers.get(REPLAYED_HEADER),\n",
        "",
        ("api/test_auditor.py::test_a_repeated_request_changes_nothing",),
    ),
    Mutant(
        "a deduped request is counted in the figures",
        "storage/jobs/queue.py",
        "if self._recorder is not None and not result.is_deduped:",
        "if self._recorder is not None:",
        (
            (
                "contract/test_recording.py"
                "::test_enqueues_are_counted_and_duplicates_are_not"
            ),
        ),
    ),
    # -- full queues -------------------------------------------------------------------
    Mutant(
        "a queue takes one job less than its bound",
        _ADMISSION,
        "if waiting > most:",
        "if waiting >= most:",
        (f"{_ADMITTING}::test_there_is_room_up_to_the_bound",),
    ),
    Mutant(
        "producers do not wait for one another at a full queue",
        _ADMISSION,
        '            transaction.all("lock_queue", name=name)\n',
        '            transaction.all("get_queue", name=name)\n',
        (f"{_ADMITTING}::test_producers_at_the_same_moment_never_exceed_the_bound",),
    ),
    Mutant(
        "jobs that wait for a retry take no room",
        "storage/sql/common/queues.sql",
        "queue_name = :name AND status IN ('pending', 'failed')",
        "queue_name = :name AND status IN ('pending')",
        (
            (
                "contract/test_queues.py"
                "::test_waiting_counts_what_has_neither_started_nor_ended"
            ),
        ),
    ),
    Mutant(
        "a caller may ask for more than a queue takes",
        _ADMISSION,
        "min(bounds.get(name, most), most)",
        "max(bounds.get(name, most), most)",
        (f"{_ADMITTING}::test_a_caller_may_ask_for_less",),
    ),
    Mutant(
        "a keyed job gets into a full queue",
        _ADMISSION,
        "bounds.keys() & keyed & new",
        "bounds.keys() & keyed - new",
        ("contract/jobs/test_queue_limits.py::test_a_full_queue_refuses",),
    ),
)
