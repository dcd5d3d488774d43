from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.model.audit import AuditFilter
from flask_forge_jobs.state import state_of


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = Flask("shop", instance_path=str(tmp_path))
    ForgeJobs(app)
    return app


def test_prune_leaves_an_entry_of_its_own(app: Flask) -> None:
    result = app.test_cli_runner().invoke(
        args=["forge-jobs", "audit", "prune", "--days", "365"]
    )

    assert result.output == "prune: 0 entries deleted\n"
    storage = state_of(app).storage
    [entry] = storage.audit.page(AuditFilter(), 9)
    storage.close()
    assert entry.record.actor.startswith("command:")
    assert (entry.record.action, entry.record.changed) == ("audit_prune", 0)
    assert entry.detail["arguments"] == {"days": 365}


def test_prune_refuses_fewer_than_90_days(app: Flask) -> None:
    result = app.test_cli_runner().invoke(
        args=["forge-jobs", "audit", "prune", "--days", "30"]
    )

    assert result.exit_code == 1
    assert "days" in result.stderr
    state_of(app).storage.close()
