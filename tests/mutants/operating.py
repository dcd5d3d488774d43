"""Mutants of what operators do: actions on jobs and queues, lists, cursors."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_SQL = "storage/sql/common/job_admin.sql"
_ADMIN = "contract/jobs/test_admin.py"
_CHANGING = "contract/jobs/test_bulk.py"
_WALKING = "contract/jobs/test_bulk_walk.py"
_FENCING = "contract/test_fencing.py"
_BULK = "api/unversioned/test_bulk.py"

MUTANTS = (
    # -- one job -----------------------------------------------------------------------
    Mutant(
        "a job is requeued while a running one holds its key",
        _SQL,
        "AND sibling.status IN ('pending', 'in_progress', 'failed')",
        "AND sibling.status IN ('pending', 'failed')",
        ("contract/jobs/test_bulk.py::test_retry_skips_a_job_whose_key_is_held",),
    ),
    Mutant(
        "a running job is deleted",
        _SQL,
        "WHERE status <> 'in_progress'\n    AND id IN",
        "WHERE id IN",
        ("contract/jobs/test_admin.py::test_delete_asks_a_running_job_to_stop",),
    ),
    Mutant(
        "a bulk delete takes what has changed its state meanwhile",
        _SQL,
        "WHERE COALESCE(status, '') = :status\n    AND id IN",
        "WHERE id IN",
        (f"{_CHANGING}::test_delete_repeats_the_state_it_was_told",),
    ),
    Mutant(
        "a second request to stop takes the place of the first",
        _SQL,
        "cancel_requested_at = COALESCE(cancel_requested_at, :now),",
        "cancel_requested_at = :now,",
        ("contract/jobs/test_admin.py::test_delete_asks_a_running_job_to_stop",),
    ),
    Mutant(
        "a requeued job is still to be stopped",
        _SQL,
        "    cancel_requested_at = NULL, cancel_reason = NULL, result = NULL,",
        "    cancel_reason = NULL, result = NULL,",
        (f"{_FENCING}::test_requeue_forgets_the_cancel",),
    ),
    Mutant(
        "a cancelled run counts among the retried or dead",
        "storage/recorder.py",
        "elif each.is_cancelled:",
        "elif each.is_cancelled and not each.run_us:",
        ("contract/jobs/test_cancelled.py",),
    ),
    Mutant(
        "a running job forgets why it was cancelled",
        "storage/jobs/finish.py",
        "messages = {job_id: cancelled_message(reason) for job_id, reason in asked}",
        "messages = {job_id: cancelled_message(None) for job_id, reason in asked}",
        ("contract/jobs/test_cancelled.py",),
    ),
    Mutant(
        "a run that gave up by itself is shown as cancelled",
        "storage/sql/sqlite/job_queue.sql",
        "WHEN v.new_status <> 'dead' THEN cancel_requested_at",
        "WHEN v.new_status <> '' THEN cancel_requested_at",
        ("contract/jobs/test_cancelled.py",),
    ),
    Mutant(
        "a requeued job remembers its crashes",
        _SQL,
        "attempts = 0, throttle_attempts = 0, crashes = 0,",
        "attempts = 0, throttle_attempts = 0,",
        (f"{_FENCING}::test_requeue_forgives_the_crashes",),
    ),
    Mutant(
        "run now moves an overdue job back",
        _SQL,
        "scheduled_at = CASE WHEN scheduled_at > :now THEN :now ELSE scheduled_at END,",
        "scheduled_at = :now,",
        (f"{_ADMIN}::test_run_now_never_moves_an_overdue_job_back",),
    ),
    Mutant(
        "a rescheduled job is brought forward by a permit",
        _SQL,
        "concurrency_key = CASE WHEN :run_at IS NULL THEN concurrency_key END\n",
        "concurrency_key = concurrency_key\n",
        (
            (
                "contract/test_concurrency_limits.py"
                "::test_who_waits_for_something_else_is_not_called_in"
            ),
        ),
    ),
    Mutant(
        "a job that has ended is cancelled",
        "storage/jobs/admin.py",
        "    if status not in APPLIES_TO[action]:\n        raise",
        "    if not APPLIES_TO[action]:\n        raise",
        (f"{_ADMIN}::test_cancel_of_a_finished_job_is_an_error",),
    ),
    Mutant(
        "finished work is run again by a retry",
        "model/bulk.py",
        "JobAction.RETRY: REQUEUEABLE,",
        "JobAction.RETRY: tuple(JobStatus),",
        ("model/test_bulk.py::test_every_action_knows_its_states",),
    ),
    # -- many jobs ---------------------------------------------------------------------
    Mutant(
        "a walk visits the last job of a step again",
        _SQL,
        "AND (enqueued_at, id) > (:after_at, :after_id)",
        "AND (enqueued_at, id) >= (:after_at, :after_id)",
        (_WALKING,),
    ),
    Mutant(
        "a walk leaves out jobs of the instant at which it stopped",
        _SQL,
        "AND (enqueued_at, id) > (:after_at, :after_id)",
        "AND enqueued_at > :after_at",
        (
            (
                "contract/jobs/test_bulk_walk.py"
                "::test_each_job_is_visited_once_over_many_combinations"
            ),
        ),
    ),
    Mutant(
        "jobs of one step have several states",
        "storage/jobs/bulk.py",
        "if room == 0 or (last is not None and last.status is not status):",
        "if room == 0:",
        (f"{_WALKING}::test_all_jobs_of_a_step_have_one_state",),
    ),
    Mutant(
        "a walk ends with its first full batch",
        "storage/jobs/bulk.py",
        "after, conditions, room + 1)",
        "after, conditions, room)",
        (f"{_WALKING}::test_a_walk_goes_in_batches",),
    ),
    Mutant(
        "a bulk call does not keep to its limit",
        "handlers/bulk.py",
        "return min(self._left, BATCH)",
        "return BATCH if self._left > 0 else 0",
        ("api/unversioned/test_bulk.py::test_bulk_by_ids_is_cut_by_the_limit",),
    ),
    Mutant(
        "a bulk call goes on with the id it came to last",
        "handlers/bulk.py",
        "if each > after_id)",
        "if each >= after_id)",
        ("handlers/test_bulk_actions.py::test_ids_are_cut_and_gone_on_with",),
    ),
    Mutant(
        "a number of jobs may differ by less than ten",
        "handlers/bulk.py",
        "max(expected * _TOLERATED_SHARE, _TOLERATED_ROWS)",
        "min(expected * _TOLERATED_SHARE, _TOLERATED_ROWS)",
        ("handlers/test_bulk.py::test_a_number_may_differ_a_little",),
    ),
    Mutant(
        "older than an instant takes the instant itself",
        "handlers/bulk.py",
        "None if older_than is None else older_than - MICROSECOND",
        "None if older_than is None else older_than",
        (f"{_BULK}::test_delete_by_status_can_be_kept_to_older_jobs",),
    ),
    Mutant(
        "a conflict of one job holds back the others",
        "storage/jobs/admin.py",
        "        if len(job_ids) == 1:\n            skip = Skip(",
        "        if job_ids:\n            skip = Skip(",
        (f"{_CHANGING}::test_a_key_taken_meanwhile_holds_back_its_own_job_only",),
    ),
    # -- queues ------------------------------------------------------------------------
    Mutant(
        "a queue is deleted while a job of it runs",
        "storage/sql/common/queues.sql",
        "queue_name = :name AND status IN ('pending', 'in_progress', 'failed')",
        "queue_name = :name AND status IN ('pending', 'failed')",
        ("contract/test_queues.py",),
    ),
    Mutant(
        "an unknown queue among many is passed over",
        "storage/queues.py",
        "        if name not in known:\n            raise QueueNotFoundError(name)",
        "        if not known:\n            raise QueueNotFoundError(name)",
        ("contract/test_queues.py::test_an_unknown_queue_among_many_changes_none",),
    ),
    Mutant(
        "the end of a queue leaves jobs that wait for later",
        "storage/queues.py",
        "    if not gone:\n        gone = transaction.all(",
        "    if gone:\n        gone = transaction.all(",
        (
            (
                "contract/test_queues.py"
                "::test_delete_with_jobs_removes_what_waits_and_stops_what_runs"
            ),
        ),
    ),
    # -- lists and cursors -------------------------------------------------------------
    Mutant(
        "a page leaves out jobs of the instant at which the last one ended",
        "storage/sql/common/listing.sql",
        "        AND enqueued_at >= :edge AND (enqueued_at, id) < (:at, :id)\n"
        "    ORDER BY enqueued_at DESC, id DESC\n    LIMIT :limit\n",
        "        AND enqueued_at >= :edge AND enqueued_at < (:at)\n"
        "    ORDER BY enqueued_at DESC, id DESC\n    LIMIT :limit\n",
        ("contract/jobs/test_listing.py::test_pages_keep_to_a_range_of_instants",),
    ),
    Mutant(
        "a page of one queue reads the counts of all",
        "storage/jobs/listing.py",
        "    if queues is None:\n",
        "    if queues is None or len(queues) == 1:\n",
        ("contract/jobs/test_reader.py",),
    ),
    Mutant(
        "a range of instants leaves out its end",
        "storage/sql/common/listing.sql",
        "(enqueued_at >= :from_at AND enqueued_at <= :to_at))",
        "(enqueued_at >= :from_at AND enqueued_at < :to_at))",
        ("contract/jobs/test_reader.py::test_a_range_of_instants_includes_both_ends",),
    ),
    Mutant(
        "a search takes a wildcard for one",
        "storage/sql/common/listing.sql",
        "LOWER(payload) LIKE :payload_pattern ESCAPE '\\'",
        "LOWER(payload) LIKE :payload_pattern ESCAPE '!'",
        ("contract/jobs/test_reader.py::test_a_search_in_payloads_is_literal",),
    ),
    Mutant(
        "a cursor is good for another order",
        "handlers/cursors.py",
        "return [str(order.column), order.descending, *_parts(wanted)]",
        "return [*_parts(wanted)]",
        ("handlers/test_cursors.py::test_a_cursor_of_another_order_is_refused",),
    ),
    Mutant(
        "a cursor is good for another filter",
        "handlers/cursors.py",
        "return [str(order.column), order.descending, *_parts(wanted)]",
        "return [str(order.column), order.descending]",
        ("handlers/test_cursors.py::test_a_cursor_of_another_filter_is_refused",),
    ),
    Mutant(
        "a forged cursor brings text where a number belongs",
        "handlers/cursors.py",
        "or [type(part) for part in place] != list(shape):",
        "or len(place) != len(shape):",
        (
            (
                "handlers/test_cursors.py"
                "::test_a_forged_place_is_refused_though_its_checksum_is_right"
            ),
        ),
    ),
    Mutant(
        "the audit trail leaves out entries of one instant",
        "storage/sql/common/audit.sql",
        "WHERE at >= :from_at AND at <= :to_at AND (at, id) < (:before_at, :before_id)",
        "WHERE at >= :from_at AND at <= :to_at AND at < :before_at",
        ("contract/test_audit.py::test_pages_part_entries_of_one_instant",),
    ),
)
