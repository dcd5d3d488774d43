"""Which change is noticed; with a real worker in ``test_worker.py``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from flask_forge_jobs.cli.reloader import SourceFiles, surviving_errors
from tests.support.commands import ROOT


def write_later(file: Path) -> None:
    later = file.stat().st_mtime + 10
    os.utime(file, (later, later))


def test_a_module_that_was_written_again_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "shop.py"
    file.touch()
    module = ModuleType("shop")
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "shop", module)
    files = SourceFiles()

    before = files.changed()
    write_later(file)
    after = files.changed()

    assert (before, after) == (None, str(file))


def test_a_file_that_is_gone_for_a_moment_is_no_change(tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.touch()
    files = SourceFiles()
    files.see(str(file))
    file.unlink()

    assert files.changed() is None


@pytest.mark.parametrize("error", [click.exceptions.Exit(2), click.Abort()])
def test_who_wants_to_end_ends(error: Exception) -> None:
    with pytest.raises(type(error)), surviving_errors(SourceFiles()):
        raise error


def test_a_program_that_does_not_compile_begins_anew_once_it_does(
    tmp_path: Path,
) -> None:
    program, broken = tmp_path / "program.py", tmp_path / "broken.py"
    broken.write_text("def (", encoding="utf-8")
    program.write_text(
        "from flask_forge_jobs.cli import worker\n"
        "worker.LOOK_PERIOD_S = 0.01\n"
        "with worker.surviving_errors(worker.SourceFiles()):\n"
        "    import broken\n"
        "    print('compiled', flush=True)\n",
        encoding="utf-8",
    )
    with subprocess.Popen(
        [sys.executable, str(program)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        while "waiting for a source file" not in (said := process.stderr.readline()):
            assert said, "it has ended"
        broken.write_text("", encoding="utf-8")
        write_later(broken)
        try:
            output, _ = process.communicate(timeout=30)
        finally:
            process.kill()

    assert (process.returncode, output) == (0, "compiled\n")
