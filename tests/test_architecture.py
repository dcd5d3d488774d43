"""The rules that hold between modules, and what must be in the built distribution."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import flask_forge_jobs
from flask_forge_jobs import exports

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "flask_forge_jobs"
TESTS = ROOT / "tests"

# Modules whose tests stand elsewhere than in the mirrored place, each with its reason.
TESTED_ELSEWHERE: dict[str, str] = {
    "api/options": "test_extension.py, through the keys of an application",
    "exports": "test_architecture.py, with the package that shows it",
    "pytest_plugin": "testing/test_plugin.py, in runs of pytest",
    "tasks/declarations": "test_extension.py, as what ForgeJobs takes from it",
    "tasks/registering": "test_extension.py, as forge.task(...)",
    "runtime/handle": "runtime/test_runtime.py, with what starts it",
    "runtime/plan": "runtime/test_runtime.py, through what fills it",
    "model/overview": "contract/jobs/test_reader.py, on both backends",
    "storage/jobs/finish": "contract/test_fencing.py and contract/test_cooldowns.py, "
    "on both backends",
    "storage/postgres/probe": "storage/postgres/test_away.py, through its database",
    "storage/postgres/schema": "storage/test_migrate.py, with the other dialect's",
    "storage/postgres/transaction": "test_database.py beside it, through its database",
    "storage/sqlite/connection": "test_database.py beside it, through its database",
    "storage/sqlite/faults": "test_database.py beside it, through its database",
    "storage/sqlite/process": "test_database.py beside it, through its database",
    "storage/sqlite/schema": "storage/test_migrate.py, with the other dialect's",
    "storage/jobs/streams": "contract/jobs/test_listing.py, on both backends",
    "storage/jobs/summaries": "contract/jobs/test_reader.py, on both backends",
    "storage/sqlite/transaction": "test_database.py beside it, through its database",
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


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


def test_every_module_has_a_test_file() -> None:
    """Mirrored by name; a store is tested on both backends in ``tests/contract``."""
    missing = []
    for path in modules():
        name = path.relative_to(PACKAGE).with_suffix("").as_posix()
        if path.name == "__init__.py" or name in TESTED_ELSEWHERE:
            continue
        folder, _, module = name.rpartition("/")
        places = {folder, re.sub("^storage", "contract", folder)}
        if not any((TESTS / place / f"test_{module}.py").exists() for place in places):
            missing.append(name)

    assert missing == []


def test_exceptions_to_the_mirror_exist() -> None:
    names = {path.relative_to(PACKAGE).with_suffix("").as_posix() for path in modules()}

    assert set(TESTED_ELSEWHERE) <= names


def test_packages_hold_nothing_but_a_docstring() -> None:
    """Importing a contract must not drag in a driver; only two export, for users."""
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent in (PACKAGE, PACKAGE / "testing"):
            continue
        body = ast.parse(path.read_text(encoding="utf-8")).body
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
    """Every flask command and every run of pytest imports one of them."""
    program = """
import sys
import flask_forge_jobs.cli.group, flask_forge_jobs.pytest_plugin
print(*sorted(name for name in sys.modules if name.startswith("flask")))
"""
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert finished.stdout.split() == [
        "flask_forge_jobs",
        "flask_forge_jobs.cli",
        "flask_forge_jobs.cli.group",
        "flask_forge_jobs.pytest_plugin",
    ]


def test_the_public_names_are_those_that_are_exported() -> None:
    assert flask_forge_jobs.__all__ == exports.__all__
    assert set(flask_forge_jobs.__all__) <= set(dir(flask_forge_jobs))
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
    assert "[pytest11]\nforge_jobs = flask_forge_jobs.pytest_plugin\n" in entry_points
