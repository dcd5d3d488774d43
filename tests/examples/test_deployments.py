"""The pages on systemd, containers and a Procfile: their programs, and the ready files.

The files are started as the page says, each line by a shell and with the settings that
the platform gives; the platforms themselves are not here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.cli.show_config import config_text
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.config.settings import Settings
from flask_forge_jobs.state import state_of
from flask_forge_jobs.testing import JobsKit
from tests.examples.blocks import BLOCKS, block
from tests.examples.test_pages import DOCS, blocks_of
from tests.support.client import Request, send
from tests.support.programs import running

PAGES = ("howto/systemd.rst", "howto/containers.rst", "howto/procfile.rst")
# Seconds that a worker needs after its grace period; see "Stop a worker".
AFTER_GRACE_S = 15
HEROKU_KILLS_AFTER_S = 30


def application(page: str) -> Any:
    names: dict[str, Any] = {"__name__": "app"}
    exec(blocks_of(page)[0], names)
    return names["app"]


@pytest.mark.parametrize("page", [*PAGES, "howto/secure.rst"])
def test_the_application_signs_somebody_up(
    page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite://")
    app = application(page)

    with JobsKit(app) as jobs:
        answer = app.test_client().post("/signup")
        (job,) = jobs.enqueued("send_welcome")

    assert answer.json == {"job": job.id}
    state_of(app).storage.close()


def test_the_application_of_a_platform_takes_its_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://shop:secret@db.example:5432/shop")

    config = application("howto/procfile.rst").config

    database = DatabaseSettings.from_url(config["FORGE_JOBS_DATABASE_URL"])
    assert (database.backend, database.host) == ("postgres", "db.example")
    grace_s = Settings.from_mapping(config).shutdown_grace_s
    assert grace_s + AFTER_GRACE_S <= HEROKU_KILLS_AFTER_S


def test_a_worker_has_time_to_end_its_jobs() -> None:
    unit = config_text("systemd-worker")
    service = yaml.safe_load(config_text("compose"))["services"]["worker"]
    page = (DOCS / "howto/containers.rst").read_text("utf-8")
    manifest = yaml.safe_load(
        page.partition(":caption: worker.yaml\n")[2].partition("\n-   ")[0]
    )
    pod = manifest["spec"]["template"]["spec"]

    times_s = (
        int(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[0]),
        int(service["stop_grace_period"].removesuffix("s")),
        pod["terminationGracePeriodSeconds"],
    )

    assert min(times_s) >= Settings().shutdown_grace_s + AFTER_GRACE_S
    assert shlex.join(pod["containers"][0]["command"]) == service["command"]


def _lines(name: str) -> tuple[str, str, str]:
    """Return the commands of a ready file that migrate, serve and work."""
    migrate = "flask --app app forge-jobs db migrate"
    if name == "procfile":
        found = dict(line.split(": ", 1) for line in config_text(name).splitlines())
        return found["release"], found["web"], found["worker"]
    if name == "compose":
        services = yaml.safe_load(config_text(name))["services"]
        return migrate, services["web"]["command"], services["worker"]["command"]
    starts = [
        re.findall(r"^ExecStart=(.+)$", config_text(f"systemd-{each}"), re.MULTILINE)[0]
        for each in ("web", "worker")
    ]
    web, worker = (line.replace("/srv/shop/venv/bin/", "") for line in starts)
    return migrate, web, worker


def _given(name: str, database_url: str) -> Mapping[str, str]:
    """Return the variables that the platform, or a file of the page, sets."""
    given = {
        "FLASK_SECRET_KEY": "k" * 32,
        "FLASK_FORGE_JOBS_DATABASE_URL": database_url,
    }
    if name == "compose":
        services = yaml.safe_load(config_text(name))["services"]
        assert given.keys() < services["worker"]["environment"].keys()
    if name == "procfile":
        url = database_url.replace("postgresql:", "postgres:")
        given = {"FLASK_SECRET_KEY": "k" * 32, "DATABASE_URL": url, "PORT": "0"}
    folder = Path(sys.executable).parent
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **given}


def _home(name: str, folder: Path) -> dict[str, str]:
    """Return the variables of a home as on the platform, which may be no folder."""
    if name == "procfile":
        return {"HOME": str(folder)}
    text = config_text("systemd-web")
    if name == "compose":
        text = block("howto/containers.rst", "docker").text
    (place,) = re.findall(r"\bXDG_RUNTIME_DIR=(/\S+)", text)
    made = re.findall(r"^RuntimeDirectory=(\S+)$", text, re.MULTILINE)
    assert place in {"/tmp", *(f"/run/{each}" for each in made)}
    return {"HOME": os.devnull, "XDG_RUNTIME_DIR": str(folder)}


# The shell writes each variable that the platform would keep.
HEROKU = 'heroku() { shift; printf "%s\\n" "$@" >> variables; }\n'


@pytest.mark.long
@pytest.mark.parametrize("page", [*PAGES, "howto/secure.rst"])
def test_the_secrets_of_a_page_open_the_api(page: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(blocks_of(page)[0], "utf-8")
    (text,) = [
        each.text
        for each in BLOCKS
        if each.page == page and each.language == "console" and "token new" in each.text
    ]
    lines = re.findall(
        r"^[$#] ((?!git|heroku (?:addons|ps|run)).+)$", text, re.MULTILINE
    )
    script = HEROKU + "\n".join(lines).replace("venv/bin/", "")
    script = script.replace("docker run --rm shop ", "")
    script = script.replace("/srv/shop", str(tmp_path))
    script = script.replace("/etc/shop.env", "variables").replace(" .env", " variables")
    environ = {**_given("systemd", ""), "DATABASE_URL": "sqlite://"}
    del environ["FLASK_FORGE_JOBS_DATABASE_URL"], environ["FLASK_SECRET_KEY"]

    subprocess.run(["sh", "-ec", script], env=environ, cwd=tmp_path, check=True)
    written = dict(
        line.split("=", 1) for line in (tmp_path / "variables").read_text().splitlines()
    )
    tokens = written.get("FLASK_FORGE_JOBS_TOKENS") or written["FORGE_JOBS_TOKENS"]
    token = (tmp_path / "ada.token").read_text().splitlines()[0]
    secret = written.get("FLASK_SECRET_KEY") or written["SECRET_KEY"]
    app = Flask("shop", instance_path=str(tmp_path))
    app.config["SECRET_KEY"] = secret
    app.config["FORGE_JOBS_TOKENS"] = json.loads(tokens.strip("'"))  # of a file
    ForgeJobs(app)
    headers = {"Authorization": f"Bearer {token}"}
    client = app.test_client()

    assert client.get("/forge-jobs/v1/queues").status_code == HTTPStatus.UNAUTHORIZED
    answer = client.get("/forge-jobs/v1/audit", headers=headers)
    assert answer.status_code == HTTPStatus.OK
    assert len(secret) == 64
    assert (tmp_path / "ada.token").stat().st_mode & 0o077 == 0
    state_of(app).storage.close()


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "page"), list(zip(("systemd", "compose", "procfile"), PAGES, strict=True))
)
def test_the_files_run_the_application(
    name: str, page: str, postgres_database: str, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(blocks_of(page)[0], "utf-8")
    migrate, web, worker = _lines(name)
    web, count = re.subn(r"--bind \S+", "--bind 127.0.0.1:0", web)
    environ = {**_given(name, postgres_database), **_home(name, tmp_path)}

    subprocess.run(["sh", "-c", migrate], env=environ, cwd=tmp_path, check=True)
    with contextlib.ExitStack() as stack:
        server, working = (
            stack.enter_context(
                running(["sh", "-c", f"exec {line}"], environ=environ, folder=tmp_path)
            )
            for line in (web, worker)
        )
        answer = send(server.port(), Request("POST", "/signup"), prefix="")
        working.match("^welcome 7$")
        status = working.stop()

    assert count == 1
    assert "Control server error" not in server.text  # of gunicorn 25 and newer
    assert list(answer.json()) == ["job"]
    assert status == 0, working.text
