"""A process that is warmed up has imported and compiled what its first page needs."""

from __future__ import annotations

import gc
import threading
from unittest.mock import Mock

import pytest
from click.testing import CliRunner
from flask import Flask
from jinja2 import DictLoader

from flask_forge_jobs import server
from flask_forge_jobs.dashboard.environment import environment
from flask_forge_jobs.dashboard.warm_up import begin_to_warm_up, warm_up
from flask_forge_jobs.demo import scenery
from tests.api.mounting import mount
from tests.dashboard.sites import UNASKED


def compiled(app: Flask) -> set[str]:
    with app.app_context():
        cache = environment().cache
    assert cache is not None
    return {name for _, name in cache}


def test_the_templates_of_all_pages_are_compiled_and_no_longer_collected() -> None:
    app = mount(UNASKED).application

    begin_to_warm_up(app)
    for thread in threading.enumerate():
        if thread.name == "forge-jobs-warm-up":
            thread.join(60)

    assert {"forge_jobs/base.html", "forge_jobs/overview.html"} <= compiled(app)
    with app.app_context():
        template = environment().get_template("forge_jobs/base.html")
    walked = gc.get_objects()
    assert not any(each is template.blocks for each in walked)


def test_a_wrong_template_of_the_application_leaves_the_others() -> None:
    app = Flask("host")
    app.jinja_loader = DictLoader({"forge_jobs/audit.html": "{% if %}"})
    mount(UNASKED, app=app)

    warm_up(app)

    assert "forge_jobs/audit.html" not in compiled(app)
    assert "forge_jobs/tail.html" in compiled(app)


def test_a_demo_is_warm_before_its_processes_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve = Mock()
    monkeypatch.setattr(server, "_serve", serve)
    monkeypatch.setattr(scenery, "prepare", Mock())

    CliRunner().invoke(server.main, ["--demo"], catch_exceptions=False)

    assert "forge_jobs/overview.html" in compiled(serve.call_args.args[0])
