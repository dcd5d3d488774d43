from __future__ import annotations

from pathlib import Path

from tests.cli.console import SOUND, Console


def test_a_sound_deployment_has_no_finding(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    console = Console(tmp_path, settings=SOUND)
    console.storage.open()

    assert console.text("doctor").startswith("no fault: ")
    assert console.documents("doctor") == []
    console.storage.close()


def test_each_finding_has_its_remedy_below(console: Console) -> None:
    result = console.run("doctor")

    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[-1] == "3 findings"
    at = lines.index("- There are no tables of the jobs.")
    assert lines[at + 1] == "    flask forge-jobs db migrate"
