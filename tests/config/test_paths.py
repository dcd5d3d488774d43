from __future__ import annotations

from pathlib import Path

import pytest

from flask_forge_jobs.config.paths import EnvironmentPaths, FixedPaths, QueuePaths


def test_environment_paths_default_below_the_base_directory(tmp_path: Path) -> None:
    paths: QueuePaths = EnvironmentPaths({}, tmp_path)

    assert paths.config_dir() == tmp_path / "jobs/config"
    assert paths.data_dir() == tmp_path / "jobs/data"


def test_environment_paths_start_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBS_CONFIG_DIR", "etc")
    monkeypatch.delenv("JOBS_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)

    assert EnvironmentPaths().config_dir() == tmp_path / "etc"
    assert EnvironmentPaths().data_dir() == tmp_path / "jobs/data"


def test_environment_paths_take_absolute_and_relative_values(tmp_path: Path) -> None:
    environ = {"JOBS_CONFIG_DIR": "/etc/jobs", "JOBS_DATA_DIR": "data"}

    paths = EnvironmentPaths(environ, tmp_path)

    assert paths.config_dir() == Path("/etc/jobs")
    assert paths.data_dir() == tmp_path / "data"


def test_environment_paths_blank_counts_as_unset(tmp_path: Path) -> None:
    paths = EnvironmentPaths({"JOBS_DATA_DIR": "  "}, tmp_path)

    assert paths.data_dir() == tmp_path / "jobs/data"


def test_environment_paths_create_nothing(tmp_path: Path) -> None:
    EnvironmentPaths({}, tmp_path).data_dir()

    assert list(tmp_path.iterdir()) == []


def test_fixed_paths_return_what_they_were_given() -> None:
    paths: QueuePaths = FixedPaths(config=Path("a"), data=Path("b"))

    assert (paths.config_dir(), paths.data_dir()) == (Path("a"), Path("b"))
