"""Mutants of what is done while PostgreSQL is away or hangs."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_AWAY = "storage/postgres/test_away.py"
_GATE = "storage/postgres/test_request_gate.py"
_TRIAL = "storage/postgres/test_trial.py"

MUTANTS = (
    Mutant(
        "the last thread of a server waits for a database that hangs",
        "storage/postgres/request_gate.py",
        "if not 0 < self._threads - 1 <= len(self._turns):",
        "if not 0 < self._threads <= len(self._turns):",
        (_GATE,),
    ),
    Mutant(
        "a call gives its turn up between its tries",
        "storage/postgres/process.py",
        "if self._has_turn and self._attempt < len(RETRY_DELAYS_S):",
        "if self._attempt < 0:",
        (f"{_AWAY}::test_a_call_keeps_its_turn_between_its_tries",),
    ),
    Mutant(
        "an old answer to a trial counts",
        "storage/postgres/trial.py",
        "while self._is_running or self._began_at < since:",
        "while self._is_running or self._began_at < 0:",
        (_TRIAL,),
    ),
    Mutant(
        "readiness reads and does not write",
        "storage/postgres/process.py",
        "        _require_commits(connection, writes=True)\n",
        "        _require_commits(connection, writes=False)\n",
        (f"{_AWAY}::test_readiness_waits_for_nothing_that_hangs",),
    ),
    Mutant(
        "the outcome of one call is quoted by others",
        "storage/postgres/process.py",
        "_NO_ANSWER if is_unknown else str(fault)",
        "str(fault)",
        (
            f"{_AWAY}::test_after_the_first_time_out_calls_fail_at_once_until_it_answers",
        ),
    ),
    Mutant(
        "another cluster passes for ours while ours is away",
        "storage/postgres/database.py",
        'return state.cluster == joined.all("which_cluster")',
        'return bool(joined.all("which_cluster"))',
        (f"{_AWAY}::test_a_callers_connection_that_works_is_enough",),
    ),
    Mutant(
        "the first host is tried first, whichever was reached",
        "storage/postgres/server_order.py",
        "key=lambda place: place != self._reached",
        "key=lambda place: place == place",
        ("storage/postgres/test_server_order.py",),
    ),
    Mutant(
        "storage works again without being asked",
        "runtime/dispatcher.py",
        "if not names and self._is_failing:",
        "if not names and not self._is_failing:",
        ("runtime/test_dispatcher.py::test_storage_works_again_once_it_was_asked",),
    ),
    Mutant(
        "an idle duty says that the storage works again",
        "runtime/service.py",
        "if self._is_failing and has_reached:",
        "if self._is_failing:",
        ("runtime/test_service.py",),
    ),
)
