"""The examples of the page on results, run as they stand."""

from __future__ import annotations

from pathlib import Path

from tests.examples.results_page import write_files
from tests.testing.test_plugin import run_pytest


def test_every_example_runs(tmp_path: Path) -> None:
    files = write_files(tmp_path)

    status, text = run_pytest(tmp_path, "-W", "error")

    assert status == 0, text
    assert f" {files['test_app.py'].count('def test_')} passed" in text
