"""child_pool: warm programs, in any language, that run one job after the other.

A program reads one JSON object per line, ``{"id": ..., "payload": ...}``, and answers
with ``{"id": ..., "status": "ok"}``, or with ``"error"``, ``"dead"`` or ``"throttled"``
and a ``"message"`` or ``"retry_after_secs"``. After any other answer it is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import (
    check_integer,
    check_kind,
    check_timeout,
    shown,
)
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Outcome, Throttled, clip
from flask_forge_jobs.model.payloads import load_text
from flask_forge_jobs.tasks.bundled.cmd_exec import (
    GRACE_S,
    INHERITED,
    clean_environment,
    not_started,
)
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.process_groups import (
    KILL_LIMIT_S,
    ProcessGroup,
    describe_status,
)
from flask_forge_jobs.tasks.supervision import LineReader, LineTooLongError, Supervision

DEFAULT_TIMEOUT_S = 600.0
DEFAULT_RETRY_AFTER_S = 60.0
LONGEST_LINE_BYTES = 1_048_576
MAX_CHILDREN = 64
FAREWELL_S = 0.5  # between the end of a program's output and its own end


class ChildPool:
    """Runs jobs in warm programs.

    For example, ``forge.registry.add(ChildPool("resize", ["/srv/resize"], size=4))``.
    The first job starts all programs; a program that was killed starts again with the
    next job that needs it. They end with the worker.

    Args:
        kind: The kind of its jobs.
        command: The program and its arguments; no shell is involved.
        size: The number of programs, 1 to 64; default 1.
        timeout_s: Seconds that one attempt may take, including the wait for an idle
            program; default 600, None for no limit. A job's own limit overrides it.
        folder: The directory of the programs; the worker's by default.
        inherit: Variables that they get from the worker's environment; by default
            ``HOME``, ``LANG``, ``LC_ALL``, ``PATH`` and ``TZ``.
        variables: Further variables.
        environ: The environment to inherit from; that of the process by default.

    Raises:
        InvalidInputError: A value is out of bounds, or the command is empty.
    """

    concurrency = None
    stop_limit_s = GRACE_S + KILL_LIMIT_S

    def __init__(
        self,
        kind: str,
        command: Sequence[str],
        *,
        size: int = 1,
        timeout_s: float | None = DEFAULT_TIMEOUT_S,
        folder: str | Path | None = None,
        inherit: Iterable[str] = INHERITED,
        variables: Mapping[str, str] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        if isinstance(command, str) or not command:
            raise InvalidInputError("command", "must be a program and its arguments")
        if timeout_s is not None:
            check_timeout(timeout_s)
        self.kind = check_kind(kind)
        self.timeout_s = timeout_s
        self._command = list(command)
        self._size = check_integer("size", size, 1, MAX_CHILDREN)
        self._folder = None if folder is None else Path(folder)
        self._environ = clean_environment(inherit, environ) | dict(variables or {})
        self._changed = threading.Condition()
        self._idle: list[_PooledChild] = []
        self._has_begun = False

    def run(self, context: TaskContext, payload: str) -> Outcome:
        """Run a job in a program, which is stopped when the job is."""
        try:
            request = {"id": context.job_id, "payload": load_text(payload)}
        except InvalidInputError as error:
            return Dead(clip(f"corrupt row: {error.message}"))
        pooled = self._borrow(context)
        if pooled is None:
            return Failed("stopped while every child was busy")
        try:
            return self._ask(pooled, context, request)
        except OSError as error:
            return not_started(self._command[0], error)
        finally:
            with self._changed:
                self._idle.append(pooled)
                self._changed.notify()

    def close(self) -> None:
        """End the idle programs; they also end with the worker."""
        with self._changed:
            for pooled in self._idle:
                pooled.clear()

    def _borrow(self, context: TaskContext) -> _PooledChild | None:
        """Return an idle program, or None if the job has to stop before."""
        with context.cancel.heard_by(self._wake_all), self._changed:
            if not self._has_begun:
                self._begin()
            self._changed.wait_for(
                lambda: self._idle or context.cancel.is_cancelled,
                context.seconds_left(),
            )
            if context.cancel.is_cancelled or not self._idle:
                return None
            return self._idle.pop()

    def _wake_all(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _begin(self) -> None:
        self._has_begun = True
        self._idle = [_PooledChild() for _ in range(self._size)]
        with contextlib.suppress(OSError):  # reported when a job needs it
            for pooled in self._idle:
                pooled.child = self._start()

    def _start(self) -> _Child:
        return _Child(self._command, self._environ, self._folder)

    def _ask(
        self, pooled: _PooledChild, context: TaskContext, request: dict[str, Any]
    ) -> Outcome:
        if pooled.child is not None and not pooled.child.is_fit():
            pooled.clear()
        if pooled.child is None:
            pooled.child = self._start()
        outcome = pooled.child.ask(context, request)
        if outcome is None or context.cancel.is_cancelled:
            trouble, status = pooled.child.trouble, pooled.clear()
            return outcome or Failed(f"the child {trouble or describe_status(status)}")
        return outcome


class _PooledChild:
    def __init__(self) -> None:
        self.child: _Child | None = None

    def clear(self) -> int:
        """End the program; return its exit status."""
        child, self.child = self.child, None
        return 0 if child is None else child.close()


class _Child:
    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], folder: Path | None
    ) -> None:
        self._group = ProcessGroup(
            command,
            environ=environ,
            folder=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        process = self._group.process
        assert process.stdin is not None  # noqa: S101  # for the type checker
        assert process.stdout is not None  # noqa: S101  # for the type checker
        self._stdin, self._stdout = process.stdin.fileno(), process.stdout.fileno()
        self._lines = LineReader(self._stdout, LONGEST_LINE_BYTES)
        self._said: list[bytes] = []
        self.trouble = ""

    def is_fit(self) -> bool:
        """Whether it runs and has not written without a request."""
        self._said = []
        self._listen()
        is_quiet = not (self._said or self._lines.has_rest or self.trouble)
        return is_quiet and not self._group.wait(0.0)

    def ask(self, context: TaskContext, request: dict[str, Any]) -> Outcome | None:
        """Send a request and return the answer; None if the program has to go."""
        self._said = []
        with Supervision(
            self._group,
            context.cancel,
            clock=context.clock,
            deadline=context.deadline,
            grace_s=GRACE_S,
        ) as watch:
            watch.read(self._stdout, self._listen)
            watch.write(self._stdin, json.dumps(request).encode("ascii") + b"\n")
            watch.run()
        if self._lines.is_over and not self._group.wait(FAREWELL_S):
            self.trouble = "closed its output"
        if self.trouble or not self._said:
            return None
        try:
            return _outcome_of(self._said, request["id"])
        except (ValueError, TypeError, LookupError) as error:
            self.trouble = f"gave an invalid answer: {error}"
            return None

    def close(self) -> int:
        """End the program; return its exit status."""
        return self._group.close()

    def _listen(self) -> bool:
        try:
            self._said += self._lines.read()
        except LineTooLongError:
            self.trouble = f"gave an answer of more than {LONGEST_LINE_BYTES} bytes"
        return bool(self._said or self.trouble or self._lines.is_over)


def _outcome_of(lines: Sequence[bytes], job_id: str) -> Outcome:
    (line,) = lines
    answer = json.loads(line)
    if answer["id"] != job_id:
        raise ValueError(f"it is for job {shown(answer['id'])}")
    status = answer["status"]
    message = clip(str(answer.get("message") or "no message"))
    if status == "ok":
        return Done()
    if status == "error":
        return Failed(message)
    if status == "dead":
        return Dead(message)
    if status == "throttled":
        return Throttled(answer.get("retry_after_secs", DEFAULT_RETRY_AFTER_S))
    raise ValueError(f"its status is {shown(status)}")
