"""Mutants of what goes on beside the jobs: retention, counts, figures, the schema."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_SQL = "storage/sql/common/retention.sql"
_RETENTION = "storage/retention.py"
_METRICS = "storage/sql/common/metrics.sql"
_SWEEPS = "contract/test_retention.py"
_SERIES = "contract/test_series.py"
_FIGURES = "contract/test_metrics.py"

MUTANTS = (
    # -- retention ---------------------------------------------------------------------
    Mutant(
        "a sweep deletes what is young",
        _SQL,
        "completed_at <= :now - :age_us\n    ORDER BY completed_at\n",
        "completed_at >= :now - :age_us\n    ORDER BY completed_at\n",
        (
            (
                "contract/test_retention.py"
                "::test_a_sweep_deletes_what_is_older_than_its_queue_keeps"
            ),
        ),
    ),
    Mutant(
        "a sweep deletes jobs of other queues",
        _SQL,
        "    WHERE queue_name = :queue_name AND status = :status\n"
        "        AND completed_at IS NOT NULL AND completed_at <= :now - :age_us\n"
        "    ORDER BY",
        "    WHERE status = :status\n"
        "        AND completed_at IS NOT NULL AND completed_at <= :now - :age_us\n"
        "    ORDER BY",
        (f"{_SWEEPS}::test_a_batch_keeps_to_its_queue_and_status",),
    ),
    Mutant(
        "a sweep goes on although another one has its lease",
        _RETENTION,
        "if not renewed(transaction, LEASE, sweep.holder, LEASE_S):",
        "if not renewed(transaction, LEASE, sweep.holder, LEASE_S) and not values:",
        (f"{_SWEEPS}::test_a_sweep_that_loses_its_lease_stops",),
    ),
    Mutant(
        "a sweep keeps its lease",
        _RETENTION,
        "            self._leases.release(LEASE, holder)\n",
        "            del holder\n",
        ("contract/test_retention.py::test_a_sweep_that_is_cut_says_so",),
    ),
    Mutant(
        "a sweep deletes a whole batch although less was wanted",
        _RETENTION,
        "return min(self.batch, self.most - self.deleted.total())",
        "return self.batch if self.most > self.deleted.total() else 0",
        (_SWEEPS,),
    ),
    Mutant(
        "done jobs are kept for as long as dead ones",
        _RETENTION,
        "(JobStatus.DONE, JobStatus.DEAD), periods, strict=True",
        "(JobStatus.DEAD, JobStatus.DONE), periods, strict=True",
        (
            (
                "contract/test_retention.py"
                "::test_a_retention_of_zero_days_keeps_nothing_finished"
            ),
        ),
    ),
    Mutant(
        "a sweep goes on when its process no longer leads",
        "runtime/upkeep.py",
        "if self.is_stopping or not self._leader.is_leader:",
        "if self.is_stopping:",
        ("runtime/test_upkeep.py::test_a_sweep_ends_with_the_leadership",),
    ),
    Mutant(
        "a long sweep keeps schedules waiting",
        "runtime/upkeep.py",
        "return any(not duty.wait_s for duty in self._others)",
        "return False",
        ("runtime/test_upkeep.py::test_a_long_sweep_gives_way_and_goes_on",),
    ),
    Mutant(
        "a sweep cannot be disturbed in its pause",
        "storage/pace.py",
        "            if is_over():\n                return False\n",
        "",
        ("storage/test_pace.py::test_a_rest_ends_as_soon_as_it_has_to",),
    ),
    Mutant(
        "the audit trail forgets what is young",
        "storage/sql/migrations/sqlite/0001_foundation.sql",
        "- 7776000) * 1000000",
        "- 777600) * 1000000",
        ("contract/test_audit.py::test_sec_S42_database_keeps_an_entry_for_90_days",),
    ),
    # -- counts and figures ------------------------------------------------------------
    Mutant(
        "a job that is moved is counted in its old queue",
        "storage/sql/migrations/sqlite/0001_foundation.sql",
        "    OR old.queue_name <> new.queue_name OR old.kind <> new.kind\n",
        "    OR old.kind <> new.kind\n",
        ("contract/jobs/test_admin.py::test_counts_follow_any_sql",),
    ),
    Mutant(
        "jobs that are deleted are counted on",
        "storage/sql/migrations/postgres/0001_foundation.sql",
        "SELECT queue_name, kind, status, deferred, -count(*)",
        "SELECT queue_name, kind, status, deferred, count(*)",
        ("contract/jobs/test_admin.py::test_counts_follow_any_sql",),
    ),
    Mutant(
        "a count of one is lost when counts are folded",
        "storage/sql/postgres/job_admin.sql",
        "HAVING SUM(jobs) <> 0\n",
        "HAVING SUM(jobs) > 1\n",
        ("contract/jobs/test_admin.py::test_fold_counts_changes_no_sum",),
    ),
    Mutant(
        "figures that are written again are added",
        _METRICS,
        "    completed = excluded.completed,\n",
        "    completed = forge_metric.completed + excluded.completed,\n",
        (f"{_FIGURES}::test_writing_again_replaces",),
    ),
    Mutant(
        "a bucket is folded that may still change",
        "storage/metrics.py",
        "            closed_us = over_us - level * SECOND_US\n",
        "            closed_us = now_us - level * SECOND_US\n",
        (f"{_FIGURES}::test_a_bucket_that_may_still_change_is_left_alone",),
    ),
    Mutant(
        "a day's rows of processes that are gone stay until it is over",
        "storage/metrics.py",
        "ended_before=least_at(over_us - SOURCE_US),",
        'ended_before="",',
        (
            (
                f"{_FIGURES}::test_what_processes_counted_that_are_long_gone"
                "_is_folded_before_the_day_is_over"
            ),
        ),
    ),
    Mutant(
        "a day's rows of processes that run are folded",
        "storage/metrics.py",
        "ended_before=least_at(over_us - SOURCE_US),",
        "ended_before=least_at(over_us),",
        (
            (
                f"{_FIGURES}::test_what_processes_counted_that_are_long_gone"
                "_is_folded_before_the_day_is_over"
            ),
        ),
    ),
    Mutant(
        "the rows of another process are overwritten",
        _METRICS,
        "    AND forge_metric.source = (SELECT :source)\nRETURNING\n",
        "RETURNING\n",
        (f"{_FIGURES}::test_only_rows_that_are_there_are_overwritten",),
    ),
    Mutant(
        "rows that are there begin anew instead of those that were folded",
        "storage/flusher.py",
        "            if key in gone:\n",
        "            if not gone:\n",
        (
            (
                "storage/test_flusher.py"
                "::test_what_was_folded_meanwhile_is_not_counted_again"
            ),
        ),
    ),
    Mutant(
        "a row that begins anew loses what came since",
        "storage/flusher.py",
        "self.tally = self.since or Tally()",
        "self.tally = Tally()",
        (
            (
                "storage/test_flusher.py"
                "::test_what_was_folded_meanwhile_is_not_counted_again"
            ),
        ),
    ),
    Mutant(
        "what was stored counts again once it was folded",
        "storage/flusher.py",
        "        self.since, self.is_changed = None, False\n",
        "        self.is_changed = False\n",
        (
            (
                "storage/test_flusher.py"
                "::test_a_row_that_began_anew_is_overwritten_and_folded_like_any_other"
            ),
        ),
    ),
    Mutant(
        "figures whose answer was lost count again once they were folded",
        "storage/flusher.py",
        "        except StorageOutcomeUnknownError:\n",
        "        except ZeroDivisionError:\n",
        (
            (
                "storage/test_flusher.py::test_what_was_folded"
                "_after_its_answer_was_lost_is_not_counted_again"
            ),
        ),
    ),
    Mutant(
        "a first write that was not stored is forgotten",
        "storage/flusher.py",
        "        if self.is_stored or may_be_folded:\n",
        "        if may_be_folded or self:\n",
        (
            (
                "storage/test_flusher.py::test_a_first_write"
                "_with_an_unknown_outcome_that_was_not_stored_is_repeated"
            ),
        ),
    ),
    Mutant(
        "narrow rows are taken for folded only when their source is over",
        "storage/flusher.py",
        "        over_us = _end_us(key)\n",
        "        over_us = self._source_ends_us\n",
        (
            (
                "storage/test_flusher.py::test_what_was_folded"
                "_after_its_answer_was_lost_is_not_counted_again"
            ),
        ),
    ),
    Mutant(
        "a process keeps its source for good",
        "storage/flusher.py",
        "if self._is_let_go() or self._is_over(taken_us):",
        "if self._is_let_go():",
        (
            (
                "storage/test_flusher.py"
                "::test_a_process_takes_a_new_source_from_time_to_time"
            ),
        ),
    ),
    Mutant(
        "counters go down when days are pruned",
        "storage/metrics.py",
        "_to_all_time if level == DAY else None,",
        "None,",
        (f"{_FIGURES}::test_counters_never_go_down",),
    ),
    Mutant(
        "the finest buckets are kept like all others",
        "storage/metrics.py",
        "kept_us = FINEST_KEPT_US if level == FINEST else KEPT_US",
        "kept_us = KEPT_US",
        (f"{_FIGURES}::test_pruning_keeps_each_level_for_its_time",),
    ),
    Mutant(
        "two processes give away the same place in the metrics",
        "storage/sql/postgres/metrics.sql",
        "SELECT pg_advisory_xact_lock(:lock_key)\n",
        "SELECT :lock_key IS NOT NULL\n",
        (
            (
                f"{_SERIES}"
                "::test_processes_that_name_pairs_at_the_same_moment_wait_for_each_other"
            ),
        ),
    ),
    Mutant(
        "names in the metrics follow the queues that are registered",
        "storage/series.py",
        '    stored = transaction.all("stored_names", level=_NAMES)\n    return',
        "    stored: list[Row] = []\n    return",
        (f"{_SERIES}::test_names_do_not_depend_on_the_queues_that_are_registered",),
    ),
    Mutant(
        "an older version's counters make room for those of deleted queues",
        _METRICS,
        "    queue_name IN (SELECT name FROM forge_queue) DESC,\n",
        "",
        (f"{_SERIES}::test_counters_of_an_older_version_keep_their_names",),
    ),
    Mutant(
        "a percentile is one value too low",
        "model/histograms.py",
        "max(math.ceil(percent * ranks[-1] / 100), 1)",
        "max(math.floor(percent * ranks[-1] / 100), 1)",
        ("model/test_histograms.py",),
    ),
    Mutant(
        "a negative duration is taken from the sum",
        "model/histograms.py",
        "self._sum_us += max(value_us, 0)",
        "self._sum_us += value_us",
        ("model/test_histograms.py",),
    ),
    Mutant(
        "an outcome that was refused is counted as one that was stored",
        "storage/recorder.py",
        "                if refused and job.id in refused:\n",
        "                if not refused and job.id in refused:\n",
        ("storage/test_recorder.py::test_what_was_refused_counts_as_nothing_else",),
    ),
    Mutant(
        "a dead job is counted as retried",
        "storage/recorder.py",
        "                elif each.status is JobStatus.DEAD:\n",
        "                elif each.status is JobStatus.FAILED:\n",
        ("storage/test_recorder.py::test_an_end_is_completed_failed_or_retried",),
    ),
    Mutant(
        "invented kinds make one series too many",
        "storage/recorder.py",
        "if len(self._combinations) >= MAX_COMBINATIONS:",
        "if len(self._combinations) > MAX_COMBINATIONS:",
        (
            (
                "storage/test_recorder.py"
                "::test_sec_S32_invented_kinds_are_counted_together"
            ),
        ),
    ),
    Mutant(
        "a forked child counts the figures of its parent again",
        "storage/recorder.py",
        "            self.stay_own()\n        return self._lock\n",
        "            pass\n        return self._lock\n",
        ("storage/test_recorder.py::test_a_fork_leaves_the_figures_with_the_parent",),
    ),
    Mutant(
        "a bucket is let go that may still change",
        "storage/flusher.py",
        "limit_us = taken_us - LEVELS[0] * SECOND_US",
        "limit_us = taken_us + LEVELS[0] * SECOND_US",
        ("storage/test_flusher.py::test_the_complete_bucket_is_written_each_time",),
    ),
    Mutant(
        "a clock that goes back overwrites what was stored",
        "storage/flusher.py",
        "if self._is_let_go() or self._is_over(taken_us):",
        "if self._is_over(taken_us):",
        ("storage/test_flusher.py::test_a_clock_that_goes_back_overwrites_nothing",),
    ),
    Mutant(
        "a window of figures has a bucket too many",
        "model/metrics.py",
        "count = -((start_us - end_us) // width_us)",
        "count = (end_us - start_us) // width_us + 1",
        ("model/test_metrics.py",),
    ),
    # -- the schema --------------------------------------------------------------------
    Mutant(
        "SQLite stores with code that is too old by one",
        "storage/sql/sqlite/job_queue.sql",
        ") <= :known THEN :id",
        ") <= :known + 1 THEN :id",
        (
            (
                "contract/test_versions.py"
                "::test_nothing_is_stored_once_older_code_may_not_work_on_the_schema"
            ),
        ),
    ),
    Mutant(
        "PostgreSQL stores with code that is too old by one",
        "storage/sql/postgres/schema.sql",
        "IF known < :oldest_reader THEN",
        "IF known + 1 < :oldest_reader THEN",
        (
            (
                "contract/test_versions.py"
                "::test_nothing_is_stored_once_older_code_may_not_work_on_the_schema"
            ),
        ),
    ),
    Mutant(
        "a schema that was only added to is refused",
        "storage/database.py",
        "if self.oldest_reader > self.known:",
        "if self.stored > self.known:",
        ("storage/test_migrate.py::test_an_additive_newer_schema_is_accepted",),
    ),
    Mutant(
        "steps that somebody else has applied are applied again",
        "storage/migrate.py",
        "        missing = _missing(applied, steps)\n",
        "        missing = list(steps)\n",
        (
            (
                "storage/test_migrate.py"
                "::test_writers_are_kept_out_before_the_first_step_if_one_shuts_out_older_code"
            ),
        ),
    ),
    Mutant(
        "a breaking step keeps no writer out",
        "storage/migrate.py",
        "            schema.keep_writers_out()\n",
        "            pass\n",
        (
            (
                "storage/test_migrate.py"
                "::test_writers_are_kept_out_before_the_first_step_if_one_shuts_out_older_code"
            ),
        ),
    ),
    Mutant(
        "versions of a database are compared as text",
        "storage/migrate.py",
        "if numbers and numbers < _numbers(oldest):",
        "if numbers and found < oldest:",
        ("storage/test_versions.py::test_a_version_that_is_new_enough_passes",),
    ),
    # -- a database shared with the application ----------------------------------------
    Mutant(
        "Alembic looks at the models' side of the tables of the jobs",
        "alembic.py",
        "    autogen_context._object_filters.append(include_object)",
        "    autogen_context._object_filters.append(lambda *_: True)",
        ("test_alembic.py::test_a_model_may_map_a_table_of_ours",),
    ),
    Mutant(
        "an old Alembic filters after it has compared",
        "alembic.py",
        "functions.insert(0, use_filters)",
        "functions.append(use_filters)",
        (("test_alembic.py::test_an_old_alembic_gets_the_filters_before_it_compares"),),
    ),
    Mutant(
        "connections from before go on with checkpoints of their own",
        "sharing.py",
        "        engine.dispose()  # connections that were opened before",
        "        pass",
        (
            (
                "test_sharing.py"
                "::test_connections_that_were_open_before_leave_them_to_the_jobs_too"
            ),
        ),
    ),
    Mutant(
        "every later context pays for a database that came late",
        "sharing.py",
        "            appcontext_pushed.disconnect(receive, sender)",
        "            pass",
        (
            "test_sharing.py::test_the_engine_leaves_checkpoints_to_the_jobs",
            "test_alembic.py::test_an_old_alembic_may_be_imported_after_the_application",
        ),
    ),
    Mutant(
        "the setting may name another file than db=",
        "sharing.py",
        "    return os.path.realpath(first.path) == os.path.realpath(second.path)",
        "    return True",
        ("test_sharing.py::test_a_database_that_jobs_cannot_share_is_refused",),
    ),
    Mutant(
        "the embedded worker says more than gunicorn is told to",
        "embedded.py",
        "_show(name, handlers, max(logging.INFO, server.level))",
        "_show(name, handlers, logging.INFO)",
        ("test_embedded.py::test_gunicorn_may_log_less",),
    ),
    Mutant(
        "the embedded worker adds to the application's logging",
        "embedded.py",
        "if shown.level == logging.NOTSET and not shown.hasHandlers():",
        "if shown.level == logging.NOTSET:",
        ("test_embedded.py::test_logging_of_the_application_is_left_alone",),
    ),
    Mutant(
        "variables that reach the configuration are warned of",
        "config/variables.py",
        "            or key in config\n",
        "",
        ("config/test_variables.py::test_any_other_variable_is_left_alone",),
    ),
)
