"""Doctor finds the fault of each broken deployment, and none in sound ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import flask_forge_jobs
from flask_forge_jobs.cli.doctor.storage import DEPLOYMENT
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.sqlite.checkpoint import has_wal_reset_bug
from flask_forge_jobs.storage.sqlite.deployment import CHECKS
from tests.cli.console import Console
from tests.cli.doctor.deployments import BROKEN, Broken, Site, altered, worker_of
from tests.conftest import empty_tables

PACKAGE = Path(flask_forge_jobs.__file__).parent
# The tests' own server does not wait for its disk.
OF_SERVER = ("The server has fsync off", "The server has full_page_writes off")


@pytest.fixture
def site(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    tmp_path.chmod(0o700)

    def server() -> str:
        return str(request.getfixturevalue("empty_server"))

    made = Site(tmp_path, server, monkeypatch)
    yield made
    made.close()


@pytest.fixture
def empty_server(postgres_database: str) -> Iterator[str]:
    """URL of the tests' database with empty tables, which acknowledges in time."""
    empty_tables(DatabaseSettings.from_url(postgres_database))
    with altered(postgres_database, "synchronous_commit", "on"):
        yield postgres_database


def findings(console: Console, **env: str) -> list[dict[str, str]]:
    """Return what the command prints, without the faults of the tests' server."""
    result = console.run("doctor", "--json", **env)
    printed = list(map(json.loads, result.stdout.splitlines()))
    assert result.exit_code == bool(printed), result.output
    return [each for each in printed if not each["text"].startswith(OF_SERVER)]


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(each, id=each.name, marks=[pytest.mark.long] * each.is_long)
        for each in BROKEN
    ],
)
def test_doctor_names_the_fault_and_its_remedy(
    broken: Broken, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with broken.make(site) as console:
        caplog.clear()
        found = findings(console, **broken.env)
        assert caplog.messages == []  # it would be said twice

    if broken.code == "sqlite_affected" and not has_wal_reset_bug():
        assert found == []  # this version of SQLite may do it
        return
    assert [each["code"] for each in found] == [broken.code]
    assert found[0]["remedy"].startswith(broken.remedy)
    assert "s3cr3t" not in str(found)


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_doctor_has_nothing_to_say_of_a_sound_one(site: Site, backend: str) -> None:
    console = site.deployed(site.server() if backend == "postgres" else None)

    with worker_of(console.storage, "mail"):
        assert findings(console) == []


def test_every_finding_has_a_deployment() -> None:
    """There are sixteen kinds of faults at least."""
    codes = {*DEPLOYMENT, *CHECKS}
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name == "doctor" or path.name == "deployment.py":
            codes |= set(re.findall(r'Finding\(\s*"(\w+)"', path.read_text("utf-8")))

    assert {each.code for each in BROKEN} == codes
    assert len(codes) > 16
