"""cmd_exec with real programs."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Outcome
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.bundled import cmd_exec
from flask_forge_jobs.tasks.bundled.cmd_exec import TAIL_BYTES, CmdExec, Tail
from flask_forge_jobs.tasks.context import TaskContext
from flask_forge_jobs.tasks.registry import TaskRegistry
from tests.support.backends import sqlite_first
from tests.support.costs import no_hang
from tests.support.processes import is_alive
from tests.support.runtimes import (
    LIMIT_S,
    add,
    running,
    wait_for_error,
    wait_for_status,
)
from tests.support.waiting import wait_until

PYTHON = sys.executable
# Any code, but none of the arguments that make CmdExec refuse an interpreter.
CODE = r"(?s)(?!sh|/bin/sh|--run).*"
PROGRAMS = {PYTHON: ["-S", "-c", CODE, CODE, ...]}
TEN_MIB = 10 * 1024 * 1024
# Tells its id and that of a child, is deaf to SIGTERM, and so is the child.
DEAF = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
with open(sys.argv[1] + ".draft", "w") as file:
    file.write(f"{os.getpid()} {child.pid}")
os.rename(file.name, sys.argv[1])
time.sleep(600)
"""


@pytest.fixture
def context(context: TaskContext) -> TaskContext:
    """A context with real time."""
    return replace(context, clock=SystemClock())


@pytest.fixture
def task() -> CmdExec:
    return CmdExec(PROGRAMS, environ={})


def payload(*argv: str, **more: object) -> str:
    return json.dumps({"argv": list(argv), **more})


def script(text: str, *arguments: str, **more: object) -> str:
    return payload(PYTHON, "-S", "-c", text, *arguments, **more)


def dead_message(outcome: Outcome) -> str:
    assert isinstance(outcome, Dead), outcome
    return outcome.message


# -- how it ends ---------------------------------------------------------------------


def test_a_program_that_succeeds_is_done(task: CmdExec, context: TaskContext) -> None:
    assert task.run(context, script("print('fine')")) == Done()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import sys; sys.exit(3)", "exit 3"),
        ("import sys; print('out'); sys.exit(3)", "exit 3: out"),
        ("import sys; print('out'); sys.exit('err')", "exit 1: err"),
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9 (SIGKILL)"),
    ],
)
def test_a_program_that_fails_tells_why(
    task: CmdExec, context: TaskContext, text: str, message: str
) -> None:
    assert task.run(context, script(text)) == Failed(message)


def test_the_message_holds_the_end_of_a_long_output(
    task: CmdExec, context: TaskContext
) -> None:
    text = "import sys; sys.stderr.write('a' * 300 + 'b' * 256); sys.exit(2)"

    outcome = task.run(context, script(text))

    assert outcome == Failed("exit 2: \u2026" + "b" * TAIL_BYTES)


@pytest.mark.parametrize("chunks", [1, 7, 256, 257, 1000])
def test_a_tail_does_not_depend_on_how_it_came(chunks: int) -> None:
    whole = b"".join(b"%d " % n for n in range(300))
    tail, short = Tail(), Tail()
    for start in range(0, len(whole), chunks):
        tail.add(whole[start : start + chunks])
    for byte in b"x" * TAIL_BYTES:
        short.add(bytes([byte]))

    assert str(tail) == "\u2026" + whole[-TAIL_BYTES:].decode().rstrip()
    assert str(short) == "x" * TAIL_BYTES
    assert not Tail()


def test_arguments_reach_no_shell(
    task: CmdExec, context: TaskContext, tmp_path: Path
) -> None:
    argument = f"$(touch {tmp_path / 'touched'}); `id` * \n'"

    outcome = task.run(context, script("import sys; sys.exit(sys.argv[1])", argument))

    assert outcome == Failed(f"exit 1: {argument}")
    assert list(tmp_path.iterdir()) == []


def test_ten_mib_go_in_and_come_out(task: CmdExec, context: TaskContext) -> None:
    """At the same time, and held by nobody."""
    text = "import sys; data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data)"
    echoing = (
        "import sys\n"
        "while chunk := sys.stdin.buffer.read1(65536): sys.stdout.buffer.write(chunk)"
    )
    before = psutil.Process().memory_info().rss

    outcomes = [
        task.run(context, script(each, stdin="x" * TEN_MIB)) for each in (text, echoing)
    ]

    assert outcomes == [Done(), Done()]
    # The payload itself, parsed and encoded, and no copy of the output.
    assert psutil.Process().memory_info().rss - before < 6 * TEN_MIB


def test_a_program_need_not_read_what_it_is_given(
    task: CmdExec, context: TaskContext
) -> None:
    assert task.run(context, script("pass", stdin="x" * TEN_MIB)) == Done()


def test_a_helper_that_keeps_the_output_open_is_not_waited_for(
    task: CmdExec, context: TaskContext
) -> None:
    text = (
        "import subprocess, sys; subprocess.Popen("
        "[sys.executable, '-S', '-c', 'import time; time.sleep(600)'])"
    )

    with no_hang():
        assert task.run(context, script(text)) == Done()


# -- stops ---------------------------------------------------------------------------


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cmd_exec, "GRACE_S", 0.2)


def run_deaf(
    task: CmdExec,
    context: TaskContext,
    path: Path,
    stop: Callable[[], object],
    limit_s: int = 600,
) -> tuple[Outcome, list[int]]:
    """Run a program that will not stop; return its outcome and who was in its group."""
    outcomes: list[Outcome] = []
    thread = threading.Thread(
        target=lambda: outcomes.append(
            task.run(context, script(DEAF, str(path), timeout_secs=limit_s))
        )
    )
    thread.start()
    wait_until(path.exists, "the program runs")
    stop()
    thread.join(LIMIT_S)
    (outcome,) = outcomes
    return outcome, [int(word) for word in path.read_text().split()]


@pytest.mark.usefixtures("short_grace")
def test_a_time_limit_leaves_nobody(
    task: CmdExec, context: TaskContext, tmp_path: Path
) -> None:
    """Neither the program nor what it has started."""
    path = tmp_path / "pids"
    outcome, pids = run_deaf(task, context, path, lambda: None, limit_s=5)

    assert outcome == Failed("timeout after 5s")
    wait_until(lambda: not any(map(is_alive, pids)), "nobody is left")


@pytest.mark.usefixtures("short_grace")
@pytest.mark.parametrize("reason", [CancelReason.USER, CancelReason.SHUTDOWN])
def test_a_cancelled_job_leaves_nobody(
    task: CmdExec, context: TaskContext, tmp_path: Path, reason: CancelReason
) -> None:
    outcome, pids = run_deaf(
        task, context, tmp_path / "pids", lambda: context.cancel.cancel(reason)
    )

    assert outcome == Failed("cancelled by supervisor")
    wait_until(lambda: not any(map(is_alive, pids)), "nobody is left")


def test_a_program_has_time_to_clean_up(
    task: CmdExec, context: TaskContext, tmp_path: Path
) -> None:
    text = (
        "import pathlib, signal, sys, time\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "def stop(*_): (here / 'left').touch(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "(here / 'ready').touch()\n"
        "time.sleep(600)"
    )
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(task.run, context, script(text, str(tmp_path)))
        wait_until((tmp_path / "ready").exists, "the program runs")
        context.cancel.cancel(CancelReason.USER)

    assert running.result() == Failed("cancelled by supervisor")
    assert (tmp_path / "left").exists()


def test_the_limit_of_the_job_holds_too(task: CmdExec, context: TaskContext) -> None:
    limited = replace(context, deadline=context.clock.monotonic() + 0.2)

    outcome = task.run(limited, script("import time; time.sleep(600)"))

    assert outcome == Failed("cancelled by supervisor")
    assert context.cancel.reason is CancelReason.TIMEOUT


# -- what a program gets -------------------------------------------------------------


def test_no_secret_is_inherited(context: TaskContext) -> None:
    environ = {"PATH": "/usr/bin", "FORGE_JOBS_DATABASE_URL": "secret", "LANG": "C"}
    task = CmdExec(PROGRAMS, environ=environ, settable=["COLOR"])
    text = "import json, os, sys; sys.exit(json.dumps(sorted(os.environ.items())))"

    outcome = task.run(context, script(text, env={"COLOR": "green"}))

    seen = [["COLOR", "green"], ["LANG", "C"], ["PATH", "/usr/bin"]]
    assert isinstance(outcome, Failed)
    found = json.loads(outcome.message.removeprefix("exit 1: "))
    assert [pair for pair in found if pair[0] != "LC_CTYPE"] == seen


def test_no_descriptor_is_inherited_but_the_lifeline(
    task: CmdExec, context: TaskContext, tmp_path: Path
) -> None:
    """F5: what is open in the worker stays there."""
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        text = (
            "import os, sys\n"
            "names = [os.readlink(f'/proc/self/fd/{n}') "
            "for n in os.listdir('/proc/self/fd') "
            "if os.path.exists(f'/proc/self/fd/{n}')]\n"
            "sys.exit(' '.join(name.split(':')[0] for name in names))"
        )

        outcome = task.run(context, script(text))

    assert isinstance(outcome, Failed)
    assert "secret" not in outcome.message
    assert outcome.message.count("pipe") == 3  # stdout, stderr and the lifeline


def test_a_program_starts_in_the_root(context: TaskContext, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    task = CmdExec(PROGRAMS, root=tmp_path, environ={})
    text = "import os, sys; sys.exit(os.getcwd())"

    default = task.run(context, script(text))
    chosen = task.run(context, script(text, cwd="inside"))
    absolute = task.run(context, script(text, cwd=str(tmp_path / "inside")))

    assert default == Failed(f"exit 1: {tmp_path}")
    assert chosen == absolute == Failed(f"exit 1: {tmp_path / 'inside'}")


@pytest.mark.parametrize(
    ("cwd", "why"),
    [
        ("..", "'..' is outside the root"),
        ("/", "'/' is outside the root"),
        ("link", "'link' is outside the root"),
        ("missing", "'missing' is not a directory"),
    ],
)
def test_another_folder_is_refused(
    context: TaskContext, tmp_path: Path, cwd: str, why: str
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    task = CmdExec(PROGRAMS, root=root, environ={})

    outcome = task.run(context, script("pass", cwd=cwd))

    assert dead_message(outcome) == f"cwd rejected: {why}"


def test_without_a_root_no_folder_is_chosen(
    task: CmdExec, context: TaskContext
) -> None:
    outcome = task.run(context, script("pass", cwd="/"))

    assert dead_message(outcome) == "cwd rejected: no root is configured"


# -- what is refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        ["/bin/sh", "-c", "true"],
        ["sh"],
        ["./python"],
        ["../" + PYTHON],
        [PYTHON + "/"],
        [""],
    ],
)
def test_other_programs_are_refused(
    task: CmdExec, context: TaskContext, argv: list[str]
) -> None:
    message = dead_message(task.run(context, payload(*argv)))

    assert message == f"payload: argv: {argv[0]!r} is not allowed"


def test_an_argument_that_fits_no_pattern_is_dead(
    context: TaskContext, tmp_path: Path
) -> None:
    """Sorting with --compress-program runs a shell for anybody who may enqueue."""
    task = CmdExec({"/usr/bin/sort": ["-u|-r"]}, root=tmp_path)
    argv = ["sort", "--compress-program=/bin/sh"]

    message = dead_message(task.run(context, payload(*argv, stdin="touch here\n")))

    assert message == "payload: argv: argument 1 of 'sort' is not allowed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "corrupt row: is not JSON: "),
        ("[]", "payload: argv: the payload is not a JSON object"),
        ("{}", "payload: argv: must be a list"),
        ('{"argv":[]}', "payload: argv: must be a list"),
        ('{"argv":"python"}', "payload: argv: must be a list"),
        ('{"argv":[1]}', "payload: argv: 1 is not text"),
        ('{"argv":["python\\u0000"]}', "payload: argv: contains a NUL character"),
        (
            '{"argv":["x"],"shell":true}',
            "payload: shell: is not one of argv, cwd, env,",
        ),
    ],
)
def test_a_bad_payload_is_dead(
    task: CmdExec, context: TaskContext, text: str, message: str
) -> None:
    """Trying again would not help."""
    assert dead_message(task.run(context, text)).startswith(message)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"env": {"LD_PRELOAD": "x.so"}}, "env: 'LD_PRELOAD' may not be set"),
        ({"env": []}, "env: is not a JSON object"),
        ({"env": {"COLOR": 1}}, "env: 1 is not text"),
        ({"env": {"COLOR": "a\x00"}}, "env: contains a NUL character"),
        ({"cwd": 1}, "cwd: 1 is not text"),
        ({"stdin": ["x"]}, "stdin: a list is not text"),
        ({"timeout_secs": 0}, "timeout_secs: 0 is not within 1 to 31536000"),
        ({"timeout_secs": "9"}, "timeout_secs: '9' is not a whole number"),
    ],
)
def test_bad_options_are_dead(
    context: TaskContext, more: dict[str, object], message: str
) -> None:
    task = CmdExec(PROGRAMS, settable=["COLOR"], environ={})

    assert dead_message(task.run(context, script("pass", **more))) == (
        f"payload: {message}"
    )


def test_half_of_a_surrogate_pair_is_dead(task: CmdExec, context: TaskContext) -> None:
    name = json.dumps(PYTHON)
    for more in (f'[{name},"\\ud800"]', f'[{name},"-S","-c",""],"stdin":"\\ud800"'):
        message = dead_message(task.run(context, f'{{"argv":{more}}}'))

        assert message.endswith("contains half of a surrogate pair")


def test_a_program_that_is_not_there_is_dead(
    context: TaskContext, tmp_path: Path
) -> None:
    text = tmp_path / "text"
    text.write_text("no program")
    text.chmod(0o755)
    task = CmdExec([tmp_path / "missing", text], environ={})

    missing = dead_message(task.run(context, payload("missing")))
    wrong = dead_message(task.run(context, payload("text")))

    assert missing.startswith("spawn missing: [Errno 2]")
    assert wrong.startswith("spawn text: [Errno 8]")


def test_a_machine_that_is_full_fails_the_attempt(
    task: CmdExec, context: TaskContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)

    outcome = task.run(context, script("pass"))

    assert outcome == Failed(f"spawn {PYTHON}: [Errno 11] no more processes")


def test_a_root_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="root: '/missing' is not a directory"):
        CmdExec(["/srv/report"], root="/missing")


@pytest.mark.parametrize("name", ["LD_PRELOAD", "PYTHONPATH", "PATH", "GIT_SSH"])
def test_a_variable_that_loads_code_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"settable: '{name}' makes programs"):
        CmdExec(["/srv/report"], settable=["COLOR", name])


# -- in a worker, on both backends ---------------------------------------------------


def test_nothing_runs_commands_unless_it_is_registered(storage: Storage) -> None:
    """Closed by default."""
    with running(storage, TaskRegistry()):
        job_id = add(storage, "cmd_exec", payload=script("pass"))
        job = wait_for_error(storage, job_id)

    assert job.last_error == "no task registered for kind: cmd_exec"


@pytest.mark.usefixtures("short_grace")
def test_a_shutdown_ends_the_program_before_the_job_goes_back(
    storage: Storage, tmp_path: Path
) -> None:
    registry = TaskRegistry()
    registry.add(CmdExec(PROGRAMS))
    path = tmp_path / "pids"
    with running(storage, registry) as handle:
        done = add(storage, "cmd_exec", payload=script("pass"))
        wait_for_status(storage, done, JobStatus.DONE)
        job_id = add(storage, "cmd_exec", payload=script(DEAF, str(path)))
        wait_until(path.exists, "the program runs")
        pids = [int(word) for word in path.read_text().split()]

        handle.shutdown_graceful(0.0, last_call_s=LIMIT_S)

        job = storage.job_reader.get(job_id)
        assert (job.status, job.attempts) == (JobStatus.PENDING, 0)
        assert handle.abandoned_count == 0
        assert not is_alive(pids[0])
        wait_until(lambda: not is_alive(pids[1]), "nor what it has started")


@sqlite_first
def test_a_limit_of_the_worker_does_not_give_the_slot_up_too_soon(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program is gone before the job may run again."""
    monkeypatch.setattr(cmd_exec, "GRACE_S", 0.5)
    registry = TaskRegistry()
    registry.add(CmdExec(PROGRAMS))
    path = tmp_path / "pids"
    with running(storage, registry, cancel_grace_s=0.0) as handle:
        job_id = add(
            storage,
            "cmd_exec",
            payload=script(DEAF, str(path)),
            timeout_s=5.0,
            max_attempts=1,
        )
        job = wait_for_status(storage, job_id, JobStatus.DEAD)
        pids = [int(word) for word in path.read_text().split()]
        abandoned = handle.abandoned_count

    assert job.last_error == "timed out after 5s"
    assert abandoned == 0
    assert not is_alive(pids[0])
    wait_until(lambda: not is_alive(pids[1]), "nor what it has started")
