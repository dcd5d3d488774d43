"""The rules that hold between modules, and what must be in the built distribution."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import flask_forge_jobs
from flask_forge_jobs import exports
from flask_forge_jobs.model.jobs import JobStatus

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "flask_forge_jobs"
TESTS = ROOT / "tests"

# Modules whose tests stand elsewhere than in the mirrored place, each with its reason.
TESTED_ELSEWHERE: dict[str, str] = {
    "api/bulk_runs": "api/v1/test_bulk_runs.py, with the routes that use it",
    "api/schemas/me": "api/v1/test_me.py, with the route that answers so",
    "api/options": "test_extension.py, through the keys of an application",
    "dashboard/forms/rule": "dashboard/forms/test_table.py, with the forms",
    "dashboard/failures/view": "dashboard/pages/test_errors.py, as it is shown",
    "dashboard/workers/one": "dashboard/pages/test_workers.py, as it is shown",
    "dashboard/workers/rows": "dashboard/pages/test_workers.py, as it is shown",
    "dashboard/workers/view": "dashboard/pages/test_workers.py, as it is shown",
    "model/encoding": "model/test_payloads.py, through every payload",
    "dashboard/job/view": "dashboard/pages/test_job.py, as it is shown",
    "demo/__main__": "test_server.py, as the worker of a demo server",
    "server_demo": "test_server.py, as a demo server",
    "exports": "test_architecture.py, with the package that shows it",
    "handlers/explain_case": "handlers/test_explain.py, with the sentences",
    "handlers/explain_jobs": "handlers/test_explain.py, on both backends",
    "handlers/explain_queues": "handlers/test_explain.py, on both backends",
    "model/bulk_runs": "contract/test_bulk_runs.py, as they are stored",
    "cli/doctor/storage": "cli/doctor/test_deployments.py, with real databases",
    "model/catch_up": "model/test_cron.py and test_cron_times.py, with the schedules",
    "runtime/run/observer": "tasks/test_observer.py, with a task",
    "assembly": "test_extension.py and test_application.py, through ForgeJobs",
    "model/findings": "cli/doctor, as the commands print them",
    "storage/postgres/side": "cli/test_copy.py, from and to each database",
    "storage/metric_rows": "contract/test_metrics.py, on both backends",
    "storage/sides": "cli/test_copy.py, from and to each database",
    "storage/sqlite/side": "cli/test_copy.py, from and to each database",
    "storage/reading": "storage/postgres/test_round_trips.py and handlers, on both",
    "storage/postgres/together": "storage/postgres/test_round_trips.py, by its rows",
    "storage/entries": "contract/test_units.py and test_audit.py, by the trail",
    "storage/request_batches": "contract/test_units.py and jobs/test_plain_changes.py",
    "storage/transfer": "cli/test_copy.py, from and to each database",
    "storage/deployment": "storage/sqlite and storage/postgres, by what it chooses",
    "model/evidence": "handlers/test_explain.py, with what reads it",
    "storage/jobs/evidence": "handlers/test_explain.py, on both backends",
    "tasks/coroutines": "tasks/test_decorator.py, with the tasks that need it",
    "tasks/declarations": "test_extension.py, as what ForgeJobs takes from it",
    "tasks/endings": "tasks/test_decorator.py, by what tasks return and raise",
    "tasks/misfits": "test_mistakes.py, by what the messages say",
    "tasks/other_words": "test_mistakes.py, by what the messages say",
    "cli/other_words": "cli/test_group.py, by what the messages say",
    "tasks/scalars": "tasks/test_conversions.py, with what is made of them",
    "config/option": "config/test_settings.py, as the fields of the settings",
    "model/standby": "storage/test_standby.py, with what uses the positions",
    "api/standby_reads": "storage/test_standby.py, by an application",
    "storage/postgres/standby": "storage/test_standby.py, on a real standby",
    "model/steps": "contract/jobs/test_steps.py, as they are stored",
    "runtime/duties/registration": "runtime/duties/test_heartbeat.py, with the beats",
    "runtime/duties/renewal": "runtime/duties/test_heartbeat.py, with the beats",
    "runtime/duties/services": "runtime/test_runtime.py, with what starts them",
    "runtime/plan": "runtime/test_runtime.py, through what fills it",
    "runtime/worker": "runtime/test_runtime.py, with what starts it",
    "storage/bulk_runs": "contract/test_bulk_runs.py, on both backends",
    "storage/bulk_walk": "contract/test_bulk_runs.py, on both backends",
    "storage/jobs/finish": "contract/test_fencing.py and contract/test_cooldowns.py, "
    "on both backends",
    "storage/jobs/admission": "contract/jobs/test_queue_limits.py, on both backends",
    "storage/jobs/holders": "contract/jobs/test_dedupe.py, on both backends",
    "storage/jobs/keyed": "contract/jobs/test_dedupe.py, on both backends, and "
    "storage/postgres/test_locks.py",
    "storage/postgres/transaction": "test_database.py beside it, through its database",
    "storage/sqlite/connection": "test_database.py beside it, through its database",
    "storage/sqlite/faults": "test_database.py beside it, through its database",
    "storage/sqlite/process": "test_database.py beside it, through its database",
    "storage/jobs/addition": "contract/jobs/test_enqueue.py, on both backends",
    "storage/jobs/links": "contract/jobs/test_links.py, on both backends",
    "storage/jobs/tying": "contract/jobs/test_links.py, on both backends",
    "storage/batch_reader": "contract/test_batches.py, on both backends",
    "storage/batches": "contract/test_batches.py, on both backends",
    "storage/ties/batch_counts": "contract/test_batches.py, on both backends",
    "storage/ties/links": "contract/jobs/test_links.py, on both backends",
    "storage/ties/settlement": "contract/test_turns.py and the tests that it names",
    "storage/ties/turns": "contract/test_turns.py and the tests that it names",
    "tasks/batch_blocks": "tasks/test_batches.py, with the handle",
    "model/batches": "contract/test_batches.py, as they are stored",
    "model/links": "contract/jobs/test_links.py, as they are stored",
    "model/ties": "contract/jobs/test_links.py, as they are read",
    "storage/jobs/streams": "contract/jobs/test_listing.py, on both backends",
    "storage/sqlite/transaction": "test_database.py beside it, through its database",
}

# State of a thread or a context, which no signature shows. All else that a call depends
# on is passed.
AMBIENT = {
    "reentry": "whether the thread is within a call of the storage",
    "request_threads": "whether the thread answers requests",
    "runtime/run/run_log": "the run that logs, which no logger could pass",
    "runtime/inline": "how deep jobs run within one another",
    "storage/deadlines": "until when a caller waits",
    "storage/postgres/request_gate": "whether the thread was counted",
    "storage/postgres/standby": "whether a read of the thread has failed",
    "storage/sqlite/process": "the connection of the thread",
    "tasks/context": "the job that runs, as applications know it from Flask",
}

# Lines of a module; lines of a function with its signature and without its docstring;
# public methods of a class, properties not counted; percent of the SQL statements that
# are written once for each dialect.
MODULE_LINES = 400
FUNCTION_LINES = 40
PUBLIC_METHODS = 12
DIALECT_STATEMENTS_PERCENT = 10
# What an object of the worker keeps.
RUNTIME_ATTRIBUTES = 10
# What is still larger, as large as it is. A figure may only fall, and a line that is no
# longer needed has to go.
LONG_MODULES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}
# What a database does for the stores and for a process may be two more than others.
WIDE_CLASSES = {
    "storage/postgres/database:PostgresDatabase": 15,
    "storage/sqlite/database:SqliteDatabase": 15,
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def modules_with(pattern: str) -> Iterator[Path]:
    """The modules whose text matches; to parse all of them takes a second."""
    looked_for = re.compile(pattern)
    return (path for path in modules() if looked_for.search(path.read_text("utf-8")))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Every name that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)


def import_graph() -> dict[str, set[str]]:
    """The modules that each module imports; a package is no module of its own here."""
    paths = {
        f"{PACKAGE.name}/{name_of(path)}".replace("/", "."): path
        for path in modules()
        if path.name != "__init__.py"
    }
    return {name: paths.keys() & imported(parsed(path)) for name, path in paths.items()}


def definitions(
    body: list[ast.stmt], within: str
) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef]]:
    """The classes and functions of a module by their qualified names."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            name = f"{within}{node.name}"
            yield name, node
            yield from definitions(node.body, f"{name}.")


def all_definitions() -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef]]:
    for path in modules():
        yield from definitions(parsed(path).body, f"{name_of(path)}:")


def lines(function: ast.FunctionDef) -> int:
    """How long a function is, with its signature and without its docstring."""
    length = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function, clean=False) is None:
        return length
    docstring = function.body[0]
    return length - ((docstring.end_lineno or 0) - docstring.lineno + 1)


def public_methods(class_: ast.ClassDef) -> int:
    methods = {
        node.name
        for node in class_.body
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and not any("property" in ast.unparse(each) for each in node.decorator_list)
    }
    return len(methods)


def attributes(class_: ast.ClassDef) -> set[str]:
    """The names that a class declares or its methods assign to ``self``."""
    names = set()
    for node in class_.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Assign):
            names |= {each.id for each in node.targets if isinstance(each, ast.Name)}
        elif isinstance(node, ast.FunctionDef):
            names |= {
                each.attr
                for each in ast.walk(node)
                if isinstance(each, ast.Attribute)
                and isinstance(each.ctx, ast.Store)
                and ast.unparse(each.value) == "self"
            }
    return names - {"_"}  # KW_ONLY


@cache
def sizes() -> Mapping[str, Mapping[str, int]]:
    """The counts of each function or class, by the thing counted."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for name, node in all_definitions():
        if isinstance(node, ast.FunctionDef):
            found["lines"][name] = lines(node)
        else:
            found["methods"][name] = public_methods(node)
            if name.startswith("runtime/"):
                found["attributes"][name] = len(attributes(node))
    return found


def complaints(
    sizes: Mapping[str, int], most: int, known: Mapping[str, int]
) -> list[str]:
    """What is larger than it may be, and the exceptions that nothing needs any more."""
    too_large = [
        f"{name}: {size}, at most {known.get(name, most)}"
        for name, size in sizes.items()
        if size > known.get(name, most)
    ]
    unneeded = [
        f"{name}: needs no exception" for name in known if sizes.get(name, 0) <= most
    ]
    return too_large + unneeded


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Python on a path of its own: an installed copy must not be shadowed."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(cwd)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of this checkout, built in a copy so that it stays clean."""
    copy = tmp_path_factory.mktemp("source")
    shutil.copytree(
        PACKAGE, copy / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__")
    )
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    build = "from setuptools.build_meta import build_wheel; build_wheel('dist')"
    finished = run("-c", build, cwd=copy)
    assert finished.returncode == 0, finished.stderr
    (built,) = (copy / "dist").glob("*.whl")
    return zipfile.ZipFile(built)


def test_import_contracts_are_kept() -> None:
    command = "from importlinter.cli import lint_imports_command as lint; lint()"

    finished = run("-c", command, "--no-cache")

    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "0 broken" in finished.stdout


def test_no_module_imports_itself_in_a_circle() -> None:
    """Nor by an import within a function, which import-linter allows."""
    graph = import_graph()
    assert "flask_forge_jobs.api.routes" in graph["flask_forge_jobs.api.table"]

    TopologicalSorter(graph).prepare()


def test_no_module_is_long() -> None:
    lengths = {
        name_of(path): path.read_text(encoding="utf-8").count("\n")
        for path in modules()
    }

    assert complaints(lengths, MODULE_LINES, LONG_MODULES) == []


def test_no_function_is_long() -> None:
    assert complaints(sizes()["lines"], FUNCTION_LINES, LONG_FUNCTIONS) == []


def test_no_class_has_many_public_methods() -> None:
    assert complaints(sizes()["methods"], PUBLIC_METHODS, WIDE_CLASSES) == []


def test_no_object_of_a_worker_keeps_much() -> None:
    """One that does is a blackboard for several threads."""
    assert complaints(sizes()["attributes"], RUNTIME_ATTRIBUTES, {}) == []


def test_only_the_handover_takes_the_worker_s_lock() -> None:
    """Others call its methods; what one thread owns needs none."""
    own = {
        # The stop of a worker, which happens once; processes of isolated tasks; what
        # their process sends; a hint that is given once; what any thread of a task
        # logs, and whether any worker keeps it.
        "worker": {"_stopping"},
        "run/isolation": {"_lock"},
        "run/task_child": {"_sending"},
        "run/log_capture": {"_lock"},
        "run/run_log": {"_lock", "_making"},
        "hints": {"_unlooked"},
        "loop/handover": {"_lock", "_work", "_quiet"},
    }
    kinds = ("Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore")
    found: dict[str, set[str]] = {}
    for path in (PACKAGE / "runtime").rglob("*.py"):
        name = name_of(path).removeprefix("runtime/")
        for node in ast.walk(parsed(path)):
            if (
                isinstance(node, ast.Assign)
                and isinstance(node.value, ast.Call)
                and ast.unparse(node.value.func).rpartition(".")[2] in kinds
            ):
                found.setdefault(name, set()).update(
                    ast.unparse(each).removeprefix("self.") for each in node.targets
                )

    assert found == own
    for path in (PACKAGE / "runtime").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(handover|slots|_parts)\.(_lock|_work|_quiet)\b", text)


def test_most_statements_serve_both_dialects() -> None:
    """A statement counts that has two texts; not one that a single dialect needs."""
    texts: dict[str, int] = {}
    for path in PACKAGE.glob("storage/sql/*/*.sql"):
        for name in re.findall(r"^-- name: (\w+)", path.read_text(), re.MULTILINE):
            texts[name] = texts.get(name, 0) + 1
    twice = [name for name, count in texts.items() if count > 1]

    assert 100 * len(twice) <= DIALECT_STATEMENTS_PERCENT * len(texts), twice


def test_every_module_has_a_test_file() -> None:
    """Mirrored by name; a store is tested on both backends in ``tests/contract``."""
    missing = []
    for path in modules():
        name = name_of(path)
        if path.name == "__init__.py" or name in TESTED_ELSEWHERE:
            continue
        folder, _, module = name.rpartition("/")
        places = {folder, re.sub("^storage", "contract", folder)}
        if not any((TESTS / place / f"test_{module}.py").exists() for place in places):
            missing.append(name)

    assert missing == []


def test_exceptions_to_the_mirror_exist() -> None:
    names = {name_of(path) for path in modules()}

    assert set(TESTED_ELSEWHERE) <= names


def test_only_one_module_tells_reasons_to_stop_apart() -> None:
    """Others set a reason; :mod:`.model.run_end` says what it does to the job."""
    readers = {
        name_of(path)
        for path in modules_with(r"CancelReason\.")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Compare | ast.match_case | ast.Dict)
        and "CancelReason." in ast.unparse(node)
    }

    assert readers == {"model/run_end"}


def test_pages_do_not_wait_for_one_another() -> None:
    """In Python 3.11 a lock of :mod:`functools` is held for all objects of a class."""
    locked = "functools.cached_property"

    assert [
        name_of(path)
        for path in modules()
        if name_of(path).startswith("dashboard/") and locked in imported(parsed(path))
    ] == []


def test_a_logger_stands_once_and_at_the_top() -> None:
    """One in the middle of a module begins another subject."""
    late = []
    for path in modules_with("logger ="):
        body = parsed(path).body
        places = [
            place
            for place, node in enumerate(body)
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "logger"
        ]
        before = body[: places[-1]] if places else []
        if len(places) > 1 or any(
            isinstance(node, ast.ClassDef | ast.FunctionDef) for node in before
        ):
            late.append(name_of(path))

    assert late == []


def test_lists_of_states_have_a_name() -> None:
    """In SQL a fragment, in Python a constant of :mod:`.model.jobs`."""
    states = "|".join(JobStatus)
    listed = re.compile(rf"'(?:{states})',\s*'(?:{states})'")
    literal = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.glob("storage/sql/*/*.sql")
        if listed.search(path.read_text("utf-8"))
    }
    for path in modules_with(rf"JobStatus\.|['\"](?:{states})['\"]"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                named = [
                    ast.unparse(each).startswith("JobStatus.") for each in node.elts
                ]
                if sum(named) > 1 or listed.search(ast.unparse(node)):
                    literal.add(name_of(path))

    assert literal == {"model/jobs"}


def test_nothing_but_a_few_facts_is_kept_for_a_thread() -> None:
    ambient = re.compile(r"threading\.local\b|\bContextVar\(")
    found = {name_of(path) for path in modules() if ambient.search(path.read_text())}
    present = [
        name_of(path)
        for path in modules_with(r"\bpresent\b")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Name) and node.id == "present"
    ]

    assert found == set(AMBIENT)
    assert present == []


def test_packages_hold_nothing_but_a_docstring() -> None:
    """Importing a contract must not drag in a driver; only two export, for users."""
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent in (PACKAGE, PACKAGE / "testing"):
            continue
        body = parsed(path).body
        kinds = {
            type(node)
            for node in body
            if not (isinstance(node, ast.ImportFrom) and node.module == "__future__")
        }

        assert kinds == {ast.Expr}, path


def test_the_extension_needs_no_optional_package() -> None:
    """``psycopg2`` and ``gunicorn`` are extras; ``import`` must work without them."""
    command = (
        "import sys; sys.modules.update(psycopg2=None, gunicorn=None); "
        "import flask; from flask_forge_jobs import ForgeJobs; "
        "ForgeJobs(flask.Flask('app'))"
    )

    finished = run("-c", command)

    assert finished.returncode == 0, finished.stderr


def test_an_entry_point_costs_whoever_does_not_use_it_next_to_nothing() -> None:
    """Every flask command imports it."""
    program = """
import sys
import flask_forge_jobs.cli.group
print(*sorted(name for name in sys.modules if name.startswith("flask")))
"""
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert finished.stdout.split() == [
        "flask_forge_jobs",
        "flask_forge_jobs.cli",
        "flask_forge_jobs.cli.group",
    ]


def test_the_public_names_are_those_that_are_exported() -> None:
    public = {name for name in vars(exports) if name[0].isalpha()}
    names = set(vars(flask_forge_jobs)["__all__"])

    assert names == public - {"annotations"}
    assert names <= set(dir(flask_forge_jobs))
    with pytest.raises(AttributeError, match="no attribute 'nowhere'"):
        getattr(flask_forge_jobs, "nowhere")  # noqa: B009  # no such name for mypy


def test_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    kept = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert packed == kept
    assert "flask_forge_jobs/py.typed" in packed
    assert any(name.endswith(".sql") for name in packed)


def test_wheel_names_its_licences_and_command(wheel: zipfile.ZipFile) -> None:
    (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    metadata = wheel.read(f"{info}/METADATA").decode()

    assert "License-Expression: MIT OR Apache-2.0\n" in metadata
    assert f"{info}/licenses/LICENSE-MIT" in wheel.namelist()
    assert f"{info}/licenses/LICENSE-APACHE" in wheel.namelist()
    entry_points = wheel.read(f"{info}/entry_points.txt").decode()
    assert "forge-jobs-server = flask_forge_jobs.server:main" in entry_points
    # pytest would rewrite the whole package in every run of its environment.
    assert "pytest11" not in entry_points
