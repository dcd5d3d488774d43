"""Mutants of limits: token buckets, permits, cool-downs, attempts and their delays."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_SQL = "storage/sql/common/rate_limits.sql"
_MODEL = "model/limits.py"
_SQLITE_LIMITS = "storage/sql/sqlite/concurrency.sql"
_POSTGRES_LIMITS = "storage/sql/migrations/postgres/0001_foundation.sql"
_COMMON_LIMITS = "storage/sql/common/concurrency.sql"
_COMMON = "storage/sql/common/job_queue.sql"
_BACKOFF = "model/queues.py"
_OUTCOMES = "model/outcomes.py"
_BUCKETS = "contract/test_limits.py"
_LIMITED = "contract/test_concurrency_limits.py"
_COOLING = "contract/test_cooldowns.py"

MUTANTS = (
    # -- token buckets -----------------------------------------------------------------
    Mutant(
        "a bucket refills twice after the clock steps back",
        _SQL,
        "    last_refilled_at = GREATEST(last_refilled_at, :now),\n",
        "    last_refilled_at = :now,\n",
        (_BUCKETS,),
    ),
    Mutant(
        "another drain cuts a pause short",
        _SQL,
        "last_refilled_at = GREATEST(last_refilled_at, :now + :pause_us)",
        "last_refilled_at = :now + :pause_us",
        (f"{_BUCKETS}::test_another_drain_shortens_no_pause",),
    ),
    Mutant(
        "a bucket refills twice when a bucket is written while the clock is back",
        _SQL,
        "last_refilled_at = GREATEST(forge_rate_limit.last_refilled_at, :now),",
        "last_refilled_at = :now,",
        (
            (
                "contract/test_limits.py"
                "::test_a_bucket_that_is_written_while_the_clock_is_back_refills_nothing_twice"
            ),
        ),
    ),
    Mutant(
        "a bucket takes tokens while the clock is back",
        _SQL,
        "    tokens = LEAST(\n        capacity,\n        tokens\n"
        "        + GREATEST(:now - last_refilled_at, 0) * refill_per_sec",
        "    tokens = LEAST(\n        capacity,\n        tokens\n"
        "        + (:now - last_refilled_at) * refill_per_sec",
        (
            (
                "contract/test_limits.py"
                "::test_a_bucket_that_is_written_while_the_clock_is_back_refills_nothing_twice"
            ),
        ),
    ),
    Mutant(
        "a larger capacity gives tokens",
        _SQL,
        "        excluded.capacity,\n        forge_rate_limit.capacity,\n",
        "        excluded.capacity,\n",
        (_BUCKETS,),
    ),
    Mutant(
        "who comes anew passes those who wait",
        _SQL,
        ":may_pass OR line_ends_at <= :now\n",
        "TRUE OR line_ends_at <= :now\n",
        ("contract/test_limits.py::test_who_has_waited_finds_its_token",),
    ),
    Mutant(
        "a place in the line may be ten days away",
        _SQL,
        ":now + 86400000000\n",
        ":now + 864000000000\n",
        (f"{_BUCKETS}::test_nobody_is_told_to_wait_longer_than_a_day",),
    ),
    Mutant(
        "all who wait have the same turn",
        _SQL,
        "        ) + :tokens / refill_per_sec * 1000000.0,\n",
        "        ),\n",
        (("contract/test_limits.py::test_each_that_is_refused_has_a_turn_of_its_own"),),
    ),
    Mutant(
        "code takes back what an operator has changed",
        _SQL,
        "WHERE excluded.declared_as IS NULL\n"
        "    OR COALESCE(forge_rate_limit.declared_as, '') <> excluded.declared_as\n",
        "",
        (
            (
                "contract/test_limits.py"
                "::test_ensure_default_is_idempotent_and_preserves_existing_state"
            ),
        ),
    ),
    Mutant(
        "a bucket grows beyond its capacity",
        _MODEL,
        "return min(float(self.capacity), self.stored_tokens + gained)",
        "return self.stored_tokens + gained",
        ("model/test_limits.py",),
    ),
    Mutant(
        "the pause of a drain is no part of the wait",
        _MODEL,
        "return pause_us / SECOND_US + missing / self.refill_per_sec",
        "return missing / self.refill_per_sec",
        ("model/test_limits.py",),
    ),
    Mutant(
        "a bucket cannot give all that it holds",
        "storage/limits.py",
        "if tokens > bucket.capacity:",
        "if tokens >= bucket.capacity:",
        (_BUCKETS,),
    ),
    # -- concurrency limits ------------------------------------------------------------
    Mutant(
        "SQLite gives a permit to an earlier run",
        _SQLITE_LIMITS,
        "    AND claims = :run\n",
        "",
        (
            f"{_LIMITED}::test_a_run_that_was_given_back_takes_no_permit_for_the_next_one",
        ),
    ),
    Mutant(
        "PostgreSQL gives a permit to an earlier run",
        _POSTGRES_LIMITS,
        "        AND job.claims = its_run\n",
        "",
        (
            f"{_LIMITED}::test_a_run_that_was_given_back_takes_no_permit_for_the_next_one",
        ),
    ),
    Mutant(
        "a permit of an earlier run counts as taken",
        _SQLITE_LIMITS,
        "AND other.admitted_at = other.started_at AND other.id <> :job_id",
        "AND other.id <> :job_id",
        ("contract/test_concurrency_limits.py::test_the_number_of_permits_may_change",),
    ),
    Mutant(
        "a job that asks again stands in its own way",
        _SQLITE_LIMITS,
        "AND other.admitted_at = other.started_at AND other.id <> :job_id",
        "AND other.admitted_at = other.started_at",
        (f"{_LIMITED}::test_who_asks_again_keeps_its_permit",),
    ),
    Mutant(
        "there is a permit more than there may be",
        _POSTGRES_LIMITS,
        "WHEN taken < max_concurrent THEN",
        "WHEN taken <= max_concurrent THEN",
        (f"{_LIMITED}::test_only_so_many_find_a_permit",),
    ),
    Mutant(
        "PostgreSQL counts permits without a lock",
        _POSTGRES_LIMITS,
        "    PERFORM pg_advisory_xact_lock(\n"
        "        hashtextextended('forge_jobs concurrency ' || its_key, 0)\n"
        "    );\n",
        "",
        ("storage/postgres/test_alone.py",),
    ),
    Mutant(
        "a freed permit calls in who came last",
        _COMMON_LIMITS,
        "ORDER BY priority, id\n",
        "ORDER BY priority, id DESC\n",
        (f"{_LIMITED}::test_a_freed_permit_calls_in_who_came_first",),
    ),
    Mutant(
        "a freed permit calls in who waits for its retry",
        _COMMON_LIMITS,
        "admitted_at IS NULL\n        AND status = 'pending'\n",
        "admitted_at IS NULL\n",
        (
            (
                "contract/test_concurrency_limits.py"
                "::test_who_waits_for_something_else_is_not_called_in"
            ),
        ),
    ),
    Mutant(
        "of permits that are freed together only one calls somebody in",
        "storage/limits.py",
        "in sorted(Counter(freed).items()):",
        "in sorted(dict.fromkeys(freed, 1).items()):",
        (f"{_LIMITED}::test_permits_that_are_freed_together_call_in_as_many",),
    ),
    Mutant(
        "a job runs without a permit when nobody knows of one",
        "runtime/execution.py",
        '            logger.warning("job %s waits, its limit is unknown: %s",'
        " job.id, error)\n",
        "            return None\n",
        (
            (
                "runtime/test_concurrency_limits.py"
                "::test_a_job_waits_when_nobody_knows_whether_there_is_a_permit"
            ),
        ),
    ),
    # -- cool-downs --------------------------------------------------------------------
    Mutant(
        "each throttle of one window counts",
        _COMMON,
        "WHEN throttled_until > :now OR throttle_attempts >= 30 THEN",
        "WHEN throttle_attempts >= 30 THEN",
        ("contract/test_cooldowns.py::test_a_longer_hint_extends_a_live_window",),
    ),
    Mutant(
        "a later throttle of one window waits for the next, longer one",
        "storage/jobs/finish.py",
        "throttle_attempts=queue.throttle_attempts - bool(is_open)",
        "throttle_attempts=queue.throttle_attempts",
        (
            (
                "contract/test_cooldowns.py"
                "::test_siblings_throttled_one_after_another_open_one_window"
            ),
        ),
    ),
    Mutant(
        "a shorter hint cuts a live window",
        _COMMON,
        "WHEN throttled_until > :now + :delay_us THEN throttled_until\n",
        "WHEN throttled_until IS NULL THEN throttled_until\n",
        (
            (
                "contract/test_cooldowns.py"
                "::test_a_throttle_gates_the_queue_and_a_success_within_it_changes_nothing"
            ),
        ),
    ),
    Mutant(
        "a success right after the window forgets it",
        _COMMON,
        "OR throttled_until < :now - :grace_us)",
        "OR throttled_until < :now)",
        (
            (
                "contract/test_cooldowns.py"
                "::test_the_gate_opens_when_the_window_has_passed"
            ),
        ),
    ),
    Mutant(
        "a success of another queue forgets a window",
        _COMMON,
        "WHERE name = :name\n    AND throttle_attempts > 0\n",
        "WHERE throttle_attempts > 0\n",
        (_COOLING,),
    ),
    Mutant(
        "a throttle waits for the shorter of curve and hint",
        _BACKOFF,
        "min(max(curve, retry_after_s), MAX_THROTTLE_DELAY_S)",
        "min(curve, retry_after_s, MAX_THROTTLE_DELAY_S)",
        ("model/test_queues.py",),
    ),
    # -- attempts and their delays -----------------------------------------------------
    Mutant(
        "the curve begins with the base twice",
        _BACKOFF,
        "n = min(max(exponent, 0), _MAX_EXPONENT)",
        "n = min(max(exponent - 1, 0), _MAX_EXPONENT)",
        ("model/test_queues.py",),
    ),
    Mutant(
        "the curve has no maximum",
        _BACKOFF,
        "return float(min(base * 2**n, maximum))",
        "return float(max(base * 2**n, maximum))",
        ("model/test_queues.py",),
    ),
    Mutant(
        "jitter takes from the delay",
        _BACKOFF,
        "delay *= 1 + _JITTER * jitter()",
        "delay *= 1 - _JITTER * jitter()",
        ("model/test_queues.py",),
    ),
    Mutant(
        "a failure has an attempt too many",
        _OUTCOMES,
        "is_last = job.attempts >= job.max_attempts",
        "is_last = job.attempts > job.max_attempts",
        ("model/test_outcomes.py",),
    ),
    Mutant(
        "a job may be throttled once more",
        _OUTCOMES,
        "job.throttle_attempts + 1 < MAX_CONSECUTIVE_THROTTLES",
        "job.throttle_attempts < MAX_CONSECUTIVE_THROTTLES",
        ("model/test_outcomes.py",),
    ),
    Mutant(
        "who was put off too often has failed",
        _OUTCOMES,
        "    if isinstance(outcome, Snooze):\n        return True\n",
        "",
        ("model/test_outcomes.py",),
    ),
    Mutant(
        "a throttle spends the attempt",
        _OUTCOMES,
        "                uncount=True,\n                is_throttle=True,\n",
        "                is_throttle=True,\n",
        ("model/test_outcomes.py",),
    ),
    Mutant(
        "a throttle of one job cools its queue down",
        _OUTCOMES,
        "cool_down_s=outcome.retry_after_s if whole_queue else None,",
        "cool_down_s=outcome.retry_after_s,",
        ("model/test_outcomes.py",),
    ),
    Mutant(
        "workers beyond the total are shared out",
        "model/workers.py",
        "quotient + (place < remainder)",
        "quotient + (place <= remainder)",
        ("model/test_workers.py",),
    ),
)
