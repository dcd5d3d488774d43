"""Mutants of the end of a process, and of what happens between processes."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_HANDLE = "runtime/handle.py"
_STATE = "runtime/state.py"
_SIGNALS = "runtime/foreground.py"
_RUNTIME = "runtime/test_runtime.py"
_ISOLATION = "runtime/test_isolation.py"
_FAULTS = "storage/postgres/test_faults.py"
_BEFORE_THE_JOBS = (
    "        if self._processes is not None:\n"
    "            # Before other workers may run their jobs.\n"
    "            self._processes.close(min(FAREWELL_S, last_call_s))\n"
)
_JOBS_GO_BACK = "        if not all_ended:\n            self._release_rest()\n"

MUTANTS = (
    # -- the stop ----------------------------------------------------------------------
    Mutant(
        "a worker claims on while it stops",
        _HANDLE,
        "        self._state.stop_claiming()\n",
        "",
        (f"{_RUNTIME}::test_no_worker_claims_after_the_stop",),
    ),
    Mutant(
        "the processes of tasks end after their jobs have gone back",
        _HANDLE,
        _BEFORE_THE_JOBS + _JOBS_GO_BACK,
        _JOBS_GO_BACK + _BEFORE_THE_JOBS,
        ((f"{_ISOLATION}::test_a_shutdown_ends_the_process_before_the_job_goes_back"),),
    ),
    Mutant(
        "a process is kept after all have been closed",
        "runtime/isolation.py",
        "            if not self._is_closed:\n                self._busy.discard",
        "            if True:\n                self._busy.discard",
        (f"{_ISOLATION}::test_a_process_whose_job_ends_after_the_close_is_not_kept",),
    ),
    Mutant(
        "a session of a server without writes is used again",
        "storage/postgres/process.py",
        "        if is_of_no_use(error):\n            connection.close()\n",
        "",
        (
            (
                f"{_FAULTS}::test_a_call_that_reached_a_server_without_writes"
                "_tries_on_another_session"
            ),
        ),
    ),
    Mutant(
        "a session that ended while idle in a transaction is not lost",
        "storage/postgres/connection.py",
        '"57P03", "25P03", ',
        '"57P03", ',
        (f"{_FAULTS}::test_a_session_that_the_server_ended_is_lost",),
    ),
    Mutant(
        "a child closes the connections of threads that it has lost",
        "storage/sqlite/process.py",
        "    if pid == os.getpid():\n        # Does not wait",
        "    if pid:\n        # Does not wait",
        (
            (
                "storage/sqlite/test_forks.py"
                "::test_a_child_closes_nothing_of_the_threads_that_it_has_lost"
            ),
        ),
    ),
    Mutant(
        "a claim that nobody heard of stays at the stop",
        _HANDLE,
        "release_strays(self.storage.jobs, self._state, self._writer)\n",
        "pass\n",
        (
            (
                "runtime/test_lost_answers.py"
                "::test_a_claim_that_nobody_heard_of_goes_back_at_a_stop"
            ),
        ),
    ),
    Mutant(
        "a worker that has stopped stays in the registry",
        _HANDLE,
        "            self.storage.workers.remove(self.worker_id)\n",
        "            pass\n",
        (f"{_RUNTIME}::test_shutdown_leaves_no_trace",),
    ),
    Mutant(
        "a worker claims without its parent",
        _STATE,
        "os.getppid() != self._parent_pid:",
        "os.getppid() == 0:",
        (f"{_RUNTIME}::test_nothing_is_claimed_without_the_parent",),
    ),
    Mutant(
        "a worker claims although its heartbeat is stuck",
        _STATE,
        "return self.is_fresh and not self.is_outdated",
        "return not self.is_outdated",
        (f"{_RUNTIME}::test_a_stuck_heartbeat_ends_the_claims",),
    ),
    Mutant(
        "jobs whose heartbeat is stuck get a grace",
        "runtime/foreground.py",
        "longest_s = 0.0 if handle.is_stuck else grace_s",
        "longest_s = grace_s",
        ("runtime/test_foreground.py::test_a_stuck_heartbeat_ends_it_without_a_grace",),
    ),
    Mutant(
        "a worker starts although its parent has stopped",
        "runtime/foreground.py",
        "if not (signals.wait(0.0, descriptors) or signals.is_stopping):",
        "if not signals.is_stopping:",
        (
            (
                "runtime/test_foreground.py"
                "::test_a_parent_that_stops_meanwhile_lets_nothing_start"
            ),
        ),
    ),
    Mutant(
        "a program does not clean up when its worker ends",
        "cli/worker.py",
        "                atexit._run_exitfuncs()  # noqa: SLF001\n",
        "                pass\n",
        ("cli/test_ends.py::test_a_burst_lets_the_program_clean_up",),
    ),
    Mutant(
        "a thread that a task left keeps its worker from ending",
        "cli/worker.py",
        "_call_in(THREADS_LIMIT_S, clean_up)",
        "_call_in(3600.0, clean_up)",
        ("cli/test_ends.py::test_a_thread_that_a_task_left_hinders_no_end",),
    ),
    Mutant(
        "a second signal does not go on with the stop that it interrupts",
        _HANDLE,
        "                except Exception:\n",
        "                except BaseException:\n",
        (f"{_RUNTIME}::test_a_shutdown_that_a_signal_interrupts_may_be_repeated",),
    ),
    Mutant(
        "an embedded worker stops after the executors",
        "embedded.py",
        "if register is not None:",
        "if register is None:",
        (
            (
                "test_embedded.py"
                "::test_a_task_may_use_threads_of_its_own_until_the_grace_is_over"
            ),
        ),
    ),
    Mutant(
        "a late task that has ended counts as one that blocks a thread",
        "runtime/slots.py",
        "        self._lost.discard(threading.get_ident())\n",
        "",
        (
            (
                "runtime/test_slots.py"
                "::test_abandon_frees_the_slot_and_drops_the_late_outcome"
            ),
        ),
    ),
    # -- signals and forks -------------------------------------------------------------
    Mutant(
        "one wish that is heard twice ends the process",
        _SIGNALS,
        "            if now < self._repeats_until and number != HURRY:\n",
        "            if now < 0:\n",
        ("runtime/test_signals.py::test_a_repeat_within_its_time_is_the_same_wish",),
    ),
    Mutant(
        "a second signal is overheard",
        _SIGNALS,
        "            os._exit(EXIT_AT_ONCE)\n",
        "            pass\n",
        ("runtime/test_signals.py::test_the_second_signal_ends_the_process",),
    ),
    Mutant(
        "the handlers of others are not restored",
        _SIGNALS,
        "        signal.set_wakeup_fd(self._before_fd)\n",
        "        signal.set_wakeup_fd(-1)\n",
        ("runtime/test_signals.py::test_handlers_and_descriptors_are_restored",),
    ),
    Mutant(
        "a child waits for a thread that only its parent has",
        "forks.py",
        "        PerProcess.forget_beginning()\n",
        "",
        ("test_forks.py::test_a_child_begins_although_another_thread_was_about_to",),
    ),
    Mutant(
        "a forked child keeps the pipe that ties programs to the worker",
        "forks.py",
        "            end.close()\n",
        "            pass\n",
        (
            "test_forks.py::test_a_child_keeps_no_private_pipe_open",
            (
                "tasks/test_process_groups.py"
                "::test_a_child_that_its_owner_forked_does_not_keep_it_alive"
            ),
        ),
    ),
    Mutant(
        "a child is forked before that pipe is noted",
        "forks.py",
        "        with self._lock:\n            reader",
        "        if self:\n            reader",
        ("test_forks.py::test_no_child_is_forked_while_a_private_pipe_is_made",),
    ),
    Mutant(
        "a child's end stops its parent's listener",
        "storage/sqlite/wake.py",
        "        if os.getpid() != self._pid:  # pipe",
        "        if not self._pid:  # pipe",
        (
            (
                "contract/jobs/test_ends.py"
                "::test_a_child_that_ends_leaves_its_parents_listener_alone"
            ),
        ),
    ),
    Mutant(
        "a stop within a stop of the same thread begins anew",
        "runtime/handle.py",
        "            if self._is_stopping:\n                return False\n",
        "",
        (
            (
                "runtime/test_runtime.py::test_a_handler_that_stops"
                "_what_is_stopping_does_not_wait_for_itself"
            ),
        ),
    ),
    Mutant(
        "a caller's transaction waits on for a job that turns up late",
        "storage/postgres/join.py",
        '        self.send_ahead(f"SET LOCAL lock_timeout = {BRIEF_WAIT_MS}")\n',
        "",
        (
            (
                "storage/postgres/test_locks.py"
                "::test_a_job_to_be_replaced_that_turns_up_late_and_a_bulk_verb"
            ),
        ),
    ),
    Mutant(
        "a caller's transaction keeps our limit",
        "storage/postgres/join.py",
        """        self.send_ahead(f"SET LOCAL lock_timeout = '{before}'")\n""",
        "",
        (
            (
                "storage/postgres/test_locks.py"
                "::test_a_callers_transaction_gets_its_own_limit_back"
            ),
        ),
    ),
    Mutant(
        "a handler of a signal calls the storage amid a call of its thread",
        "storage/units.py",
        """pass on.\"\"\"
        if calls.is_busy:
            raise within_another()
        since = perf_counter()
        try:
            calls.is_busy = True
            unit = present.unit
            if unit is None:
                return self._database.execute(""",
        """pass on.\"\"\"
        since = perf_counter()
        try:
            calls.is_busy = True
            unit = present.unit
            if unit is None:
                return self._database.execute(""",
        (
            (
                "storage/test_interrupts.py::test_a_handler_that_enqueues"
                "_at_any_place_is_served_or_refused"
            ),
        ),
    ),
    Mutant(
        "ids that a handler of a signal has minted come again",
        "ids.py",
        "while before != self._last:",
        "while before is None:",
        ("test_ids.py::test_ids_of_a_handler_within_the_minting_of_others_are_new",),
    ),
    Mutant(
        "a queue that was deleted stays paused",
        "runtime/slots.py",
        "stored.get(name) or QueueSettings(name) for name in settings}",
        "stored.get(name) or settings[name] for name in settings}",
        (
            (
                "runtime/test_supervisor.py"
                "::test_supervisor_forgets_the_settings_of_a_queue_that_is_gone"
            ),
        ),
    ),
    Mutant(
        "a child does not know which files were open",
        "forks.py",
        "            self.inherited |= set(open_databases())\n",
        "            pass\n",
        ("test_forks.py::test_files_that_were_open_are_known_to_a_child",),
    ),
    Mutant(
        "two threads fork at a time",
        "forks.py",
        "        self._lock.acquire()\n        self._forker",
        "        self._forker",
        ("test_forks.py::test_everything_is_put_away_for_the_time_of_a_fork",),
    ),
    Mutant(
        "a child opens a file that its parent has open",
        "storage/sqlite/process.py",
        "        if self._path is not None:\n            _check_own(self._path)\n",
        "        if self._path is not None:\n",
        (
            (
                "storage/sqlite/test_forks.py"
                "::test_a_fork_within_the_callers_transaction_refuses_the_child"
            ),
        ),
    ),
    Mutant(
        "a child mints the ids of its parent",
        "ids.py",
        "            self.stay_own()\n        with self._lock:\n",
        "            pass\n        with self._lock:\n",
        ("test_ids.py::test_parent_and_child_of_a_fork_never_mint_the_same_id",),
    ),
    Mutant(
        "a signal goes to whoever gets the number of a process next",
        "tasks/process_groups.py",
        "                self._has_ended = True\n",
        "",
        (
            (
                "tasks/test_process_groups.py"
                "::test_no_signal_goes_to_whoever_gets_the_number_next"
            ),
        ),
    ),
    Mutant(
        "a commit of a failed transaction returns",
        "storage/postgres/transaction.py",
        "if status != TRANSACTION_STATUS_INTRANS:",
        "if status == TRANSACTION_STATUS_IDLE:",
        (
            "storage/postgres/test_database.py::test_a_swallowed_error_cannot_be_committed",
        ),
    ),
    Mutant(
        "a deadline within another one extends it",
        "storage/database.py",
        "ends_at if before is None else min(before, ends_at)",
        "ends_at",
        (
            (
                "storage/test_deadlines.py"
                "::test_a_deadline_within_another_extends_nothing"
            ),
        ),
    ),
    Mutant(
        "a file that was replaced is written to",
        "storage/sqlite/transaction.py",
        "            state.check_in_place()\n",
        "",
        (
            (
                "storage/sqlite/test_replaced.py"
                "::test_nothing_is_acknowledged_that_nobody_will_find"
            ),
        ),
    ),
    Mutant(
        "a server may end a listener that is idle",
        "storage/postgres/listener.py",
        ";\\n{lift_limits(connection)}",
        "",
        (
            (
                "storage/postgres/test_defaults.py"
                "::test_a_listener_that_hears_nothing_keeps_its_session"
            ),
        ),
    ),
    Mutant(
        "a caller's transaction in a file that was replaced is joined",
        "storage/sqlite/database.py",
        "            state.check_in_place()\n        joined",
        "            pass\n        joined",
        (
            (
                "storage/sqlite/test_replaced.py::test_nothing_is_stored_in"
                "_a_callers_transaction_that_nobody_will_find"
            ),
        ),
    ),
    Mutant(
        "a caller's connection to a file that was replaced before is joined",
        "storage/sqlite/process.py",
        "        if not self._has_others:\n",
        "        if self._has_others:\n",
        (
            (
                "storage/sqlite/test_replaced.py"
                "::test_a_callers_connection_to_a_replaced_file_is_refused"
            ),
        ),
    ),
    Mutant(
        "an interrupt as a transaction begins to end leaves it open",
        "storage/sqlite/database.py",
        "                write.abandon(error)\n",
        "                pass\n",
        (
            (
                "storage/test_interrupts.py"
                "::test_an_interrupt_at_any_place_leaves_nothing_held"
            ),
        ),
    ),
    Mutant(
        "a writer that gave up makes all the next impatient",
        "storage/sqlite/turn.py",
        "self._gave_up_at = time.monotonic() if is_busy else -math.inf",
        "self._gave_up_at = time.monotonic() if error else -math.inf",
        (
            (
                "storage/sqlite/test_turn.py"
                "::test_a_write_that_fails_for_another_reason_was_not_locked_out"
            ),
        ),
    ),
    Mutant(
        "a unit of work is tried once more",
        "storage/database.py",
        "enumerate((*delays_s, None))",
        "enumerate((*delays_s, delays_s[-1] if delays_s else None, None))",
        ("storage/test_retrying.py::test_a_fault_past_the_last_delay_surfaces",),
    ),
    Mutant(
        "an unclear commit is forgotten by the next try",
        "storage/database.py",
        "                unknown = fault.surfaced\n",
        "                unknown = None\n",
        (
            (
                "storage/postgres/test_away.py"
                "::test_after_the_first_time_out_calls_fail_at_once_until_it_answers"
            ),
        ),
    ),
)
