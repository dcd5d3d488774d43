"""cmd_exec: a task that runs programs of an allow-list, without a shell."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import check_integer, check_kind, shown
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Outcome, clip
from flask_forge_jobs.model.payloads import load_text
from flask_forge_jobs.tasks.bundled.programs import AllowedPrograms, Programs
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.process_groups import (
    KILL_LIMIT_S,
    ProcessGroup,
    describe_status,
)
from flask_forge_jobs.tasks.supervision import Supervision, read_some

KIND = "cmd_exec"
DEFAULT_TIMEOUT_S = 600
LONGEST_TIMEOUT_S = 31_536_000
GRACE_S = 5.0  # between SIGTERM and SIGKILL
TAIL_BYTES = 256
# Variables that programs usually need, and no secret.
INHERITED = ("HOME", "LANG", "LC_ALL", "PATH", "TZ")
_LOADS_CODE = re.compile(
    r"(DYLD|GIT|LD)_\w+|PERL5\w+|PYTHON(BREAKPOINT|HOME|PATH|STARTUP|WARNINGS)"
    r"|RUBY\w+|(JAVA_TOOL|NODE)_OPTIONS|BASH_ENV|CLASSPATH|ENV|IFS|PATH"
)
_KEYS = frozenset({"argv", "env", "cwd", "stdin", "timeout_secs"})
# Errors of a lack of resources, after which a retry makes sense.
_PASSING = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


class _FolderError(Exception):
    """The directory of the payload is not allowed."""


@dataclass(frozen=True, slots=True)
class _Command:
    argv: list[str]
    program: str
    environ: dict[str, str]
    folder: Path | None
    stdin: bytes
    timeout_s: int


class Tail:
    """Keeps the end of the output of a program."""

    def __init__(self) -> None:
        self._kept = b""
        self._is_cut = False

    def add(self, chunk: bytes) -> None:
        """Add output."""
        joined = self._kept + chunk[-TAIL_BYTES - 1 :]
        self._is_cut = self._is_cut or len(joined) > TAIL_BYTES
        self._kept = joined[-TAIL_BYTES:]

    def __bool__(self) -> bool:
        return bool(self._kept)

    def __str__(self) -> str:
        text = self._kept.decode("utf-8", "replace").rstrip()
        return f"\N{HORIZONTAL ELLIPSIS}{text}" if self._is_cut else text


class CmdExec:
    r"""Runs a program for each job.

    For example, ``forge.registry.add(CmdExec({"/srv/report": [r"\d{4}", "pdf|csv"]}))``
    lets jobs run ``/srv/report`` with a year and one of two words.

    Anybody who may enqueue chooses among the arguments that fit. Name scripts of your
    own. Do not name a program that can run others, run code or write files as its
    arguments say: shells, interpreters (``python``, ``perl``, ``awk``, ``sed``),
    launchers (``env``, ``xargs``, ``find``, ``nice``, ``timeout``, ``sudo``),
    ``ssh``, ``git``, ``tar``, ``zip``, ``sort``, ``rsync``, ``curl``, editors and
    pagers, ``make`` and package managers. The best known of them are refused unless
    patterns narrow their arguments.

    Payload: ``argv`` (the program, by path or name, and its arguments), ``env``
    (variables), ``cwd``, ``stdin`` (text), ``timeout_secs`` (at least 1, default 600).
    The job is done if the program exits with status 0, otherwise it fails with the last
    256 bytes of the output. A wrong payload, or a program that cannot be run, makes it
    :class:`Dead`.

    Args:
        programs: Absolute paths of the files that may be run, each with a list of
            regular expressions, one for each argument, which it must match in full. A
            final ``...`` lets the last one match any number of arguments. A program
            without patterns, or a list of paths, gets no arguments.
        root: The directory of the programs; ``cwd`` must lie inside it. None runs them
            in the worker's directory and refuses every ``cwd``.
        inherit: Variables that a program gets from the worker's environment; by default
            ``HOME``, ``LANG``, ``LC_ALL``, ``PATH`` and ``TZ``.
        settable: Variables that a payload may set; none by default. Those that make
            programs load code, such as ``LD_PRELOAD`` and ``PATH``, are refused.
        kind: The kind of its jobs; default ``cmd_exec``.
        environ: The environment to inherit from; that of the process by default.

    Raises:
        InvalidInputError: There is no program, a path is not absolute, two programs
            have the same name, a program may run others, a variable may load code, or
            the root is not a directory.
    """

    timeout_s: float | None = None
    concurrency = None
    stop_limit_s = GRACE_S + KILL_LIMIT_S

    def __init__(
        self,
        programs: Programs,
        *,
        root: str | Path | None = None,
        inherit: Iterable[str] = INHERITED,
        settable: Iterable[str] = (),
        kind: str = KIND,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.kind = check_kind(kind)
        self._programs = AllowedPrograms(programs)
        self._root = None if root is None else _directory(root)
        self._environ = clean_environment(inherit, environ)
        self._settable = frozenset(map(_harmless, settable))

    def run(self, context: TaskContext, payload: str) -> Outcome:
        """Run the program of a job, which is stopped when the job is."""
        try:
            arguments = load_text(payload)
        except InvalidInputError as error:
            return Dead(clip(f"corrupt row: {error.message}"))
        try:
            command = self._command(arguments)
        except InvalidInputError as error:
            return Dead(clip(f"payload: {error}"))
        except _FolderError as error:
            return Dead(clip(f"cwd rejected: {error}"))
        try:
            group = ProcessGroup(
                command.argv,
                program=command.program,
                environ=command.environ,
                folder=command.folder,
                stdin=subprocess.PIPE if command.stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            return not_started(command.argv[0], error)
        return _outcome_of(group, command, context)

    def _command(self, arguments: object) -> _Command:
        if not isinstance(arguments, dict):
            raise InvalidInputError("argv", "the payload is not a JSON object")
        unknown = sorted(arguments.keys() - _KEYS)
        if unknown:
            raise InvalidInputError(
                unknown[0], f"is not one of {', '.join(sorted(_KEYS))}"
            )
        argv = _argv(arguments.get("argv"))
        timeout_s = arguments.get("timeout_secs")
        stdin = arguments.get("stdin")
        return _Command(
            argv=argv,
            program=self._programs.path_of(argv),
            environ=self._environ | self._chosen(arguments.get("env")),
            folder=self._folder(arguments.get("cwd")),
            stdin=b"" if stdin is None else _text("stdin", stdin).encode(),
            timeout_s=DEFAULT_TIMEOUT_S
            if timeout_s is None
            else check_integer("timeout_secs", timeout_s, 1, LONGEST_TIMEOUT_S),
        )

    def _chosen(self, env: object) -> dict[str, str]:
        if env is None:
            return {}
        if not isinstance(env, dict):
            raise InvalidInputError("env", "is not a JSON object")
        for name, value in env.items():
            if name not in self._settable:
                raise InvalidInputError("env", f"{shown(name)} may not be set")
            _printable("env", value)
        return env

    def _folder(self, cwd: object) -> Path | None:
        if cwd is None:
            return self._root
        text = _printable("cwd", cwd)
        if self._root is None:
            raise _FolderError("no root is configured")
        # Resolve links first, since one may lead out of the root.
        folder = (self._root / text).resolve()
        if not folder.is_relative_to(self._root):
            raise _FolderError(f"{shown(text)} is outside the root")
        if not folder.is_dir():
            raise _FolderError(f"{shown(text)} is not a directory")
        return folder


def _outcome_of(
    group: ProcessGroup, command: _Command, context: TaskContext
) -> Outcome:
    out, err = Tail(), Tail()
    process = group.process
    try:
        with Supervision(
            group,
            context.cancel,
            clock=context.clock,
            deadline=context.deadline,
            limit_at=context.clock.monotonic() + command.timeout_s,
            grace_s=GRACE_S,
        ) as watch:
            for pipe, tail in ((process.stdout, out), (process.stderr, err)):
                if pipe is not None:
                    _follow(watch, pipe.fileno(), tail)
            if process.stdin is not None:
                watch.write(process.stdin.fileno(), command.stdin, process.stdin.close)
            watch.run()
    finally:
        status = group.close()
    if watch.is_late:
        return Failed(f"timeout after {command.timeout_s}s")
    if watch.is_stopping:
        return Failed("cancelled by supervisor")
    if status < 0:
        return Failed(describe_status(status).removeprefix("was "))
    if status == 0:
        return Done()
    said = str(err or out)
    return Failed(clip(f"exit {status}: {said}" if said else f"exit {status}"))


def _follow(watch: Supervision, descriptor: int, tail: Tail) -> None:
    os.set_blocking(descriptor, False)

    def listen() -> bool:
        chunk = read_some(descriptor)
        if chunk == b"":
            watch.forget(descriptor)
        elif chunk is not None:
            tail.add(chunk)
        return False

    watch.read(descriptor, listen)


def not_started(name: str, error: OSError) -> Dead | Failed:
    """Return the outcome for a program that cannot be started."""
    message = clip(f"spawn {name}: {error}")
    return Failed(message) if error.errno in _PASSING else Dead(message)


def clean_environment(
    inherit: Iterable[str], environ: Mapping[str, str]
) -> dict[str, str]:
    """Return only the named variables, so that no secret is passed on."""
    return {name: environ[name] for name in inherit if name in environ}


def _harmless(name: str) -> str:
    if _LOADS_CODE.fullmatch(name):
        raise InvalidInputError("settable", f"{shown(name)} makes programs load code")
    return name


def _directory(root: str | Path) -> Path:
    directory = Path(root).resolve()
    if not directory.is_dir():
        raise InvalidInputError("root", f"{shown(str(root))} is not a directory")
    return directory


def _argv(value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise InvalidInputError("argv", "must be a list of the program and arguments")
    return [_printable("argv", each) for each in value]


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInputError(field, f"{shown(value)} is not text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(field, "contains half of a surrogate pair") from None
    return value


def _printable(field: str, value: object) -> str:
    """Return text that can be an argument or a variable."""
    text = _text(field, value)
    if "\x00" in text:
        raise InvalidInputError(field, "contains a NUL character")
    return text
