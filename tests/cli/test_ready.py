from __future__ import annotations

from pathlib import Path

from tests.cli.console import Console


def test_a_deployment_without_workers_is_degraded(console: Console) -> None:
    console.storage.open()

    first, *checks = console.text("ready").splitlines()

    assert first == "degraded"
    assert checks[0].startswith("- storage: ok")
    assert "- workers: NOT OK, 0 live" in checks


def test_a_database_that_is_away_ends_with_1(tmp_path: Path) -> None:
    url = "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"
    console = Console(tmp_path, url)

    result = console.run("ready")

    assert result.exit_code == 1
    assert result.stdout.startswith("unavailable\n- storage: NOT OK, ")
