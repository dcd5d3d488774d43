"""Each ready file is one that its tool loads; it names our metrics and commands."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from flask_forge_jobs.cli.group import forge_jobs_group
from flask_forge_jobs.cli.show_config import CONFIGS, config_text
from flask_forge_jobs.model.outcomes import Dead
from flask_forge_jobs.prometheus import SnapshotCollector
from tests.cli.console import Console
from tests.support.jobs import enqueue, run

METRIC = re.compile(r"\b((?:queue|forge_jobs)_[a-z_]+)")
# Labels and variables of the same look.
NOT_METRICS = {"queue_name"}
COMMAND = re.compile(r"(?:--app app )?forge-jobs (.+)")


@pytest.fixture
def metrics(console: Console) -> set[str]:
    """The names of the series that a server exposes."""
    enqueue(console.storage)
    run(console.storage, Dead("no"))
    console.app.testing = True
    text = console.app.test_client().get("/forge-jobs/metrics").get_data(as_text=True)
    only_postgres = {each.name for each in SnapshotCollector(lambda: None).collect()}
    return (
        only_postgres
        | {re.split(r"[{ ]", line)[0] for line in text.splitlines() if line[0] != "#"}
        | {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    )


def test_each_file_is_listed_and_printed(console: Console) -> None:
    listed = console.text("show-config").splitlines()

    assert [line.split()[0] for line in listed] == list(CONFIGS)
    for name in CONFIGS:
        assert console.text("show-config", name) == config_text(name)
    assert "'nothing'" in console.refusal("show-config", "nothing")


@pytest.mark.parametrize("name", ["alerts", "grafana", "keda"])
def test_queries_ask_for_metrics_that_there_are(name: str, metrics: set[str]) -> None:
    parsed = yaml.safe_load(config_text(name))
    if name == "grafana":
        queries = [
            each["expr"] for panel in parsed["panels"] for each in panel["targets"]
        ]
    elif name == "alerts":
        queries = [
            rule["expr"] for group in parsed["groups"] for rule in group["rules"]
        ]
    else:
        queries = [each["metadata"]["query"] for each in parsed["spec"]["triggers"]]

    for query in queries:
        names = set(METRIC.findall(query)) - NOT_METRICS
        assert names, query
        asked = {each.removesuffix("_bucket") for each in names}
        assert asked <= metrics, query


def test_panels_of_the_board_do_not_overlap() -> None:
    board = json.loads(config_text("grafana"))
    places = [panel["gridPos"] for panel in board["panels"]]
    cells = [
        (x, y)
        for each in places
        for x in range(each["x"], each["x"] + each["w"])
        for y in range(each["y"], each["y"] + each["h"])
    ]

    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in board["panels"]}) == len(places)


@pytest.mark.parametrize("name", CONFIGS)
def test_commands_in_a_file_are_understood(name: str) -> None:
    for line in COMMAND.findall(config_text(name)):
        words = shlex.split(
            line.strip('"').replace("{{ $labels.", "").replace(" }}", "")
        )
        command: click.Command = forge_jobs_group
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), words.pop(0))
            assert found is not None, line
            command = found
        command.make_context(None, words)


def test_gunicorn_takes_its_file(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(config_text("gunicorn"))
    (tmp_path / "app.py").write_text("def app(environ, start_response): ...\n")

    checked = subprocess.run(
        [sys.executable, "-m", "gunicorn", "--check-config", "app:app"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("name", ["systemd-web", "systemd-worker"])
def test_systemd_takes_its_units(name: str, tmp_path: Path) -> None:
    # The programs and users of the example are not here.
    text = config_text(name).replace(
        "/srv/shop/venv/bin/", f"{Path(sys.executable).parent}/"
    )
    unit = tmp_path / CONFIGS[name][0]
    unit.write_text(text)

    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert str(unit) not in checked.stderr
    assert checked.returncode == 0, checked.stderr


def test_compose_has_services_that_depend_on_known_ones() -> None:
    parsed = yaml.safe_load(config_text("compose"))
    services = parsed["services"]

    assert set(services) == {"database", "web", "worker"}
    assert services["worker"]["command"].endswith("forge-jobs worker")
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
