"""What ``from flask_forge_jobs import ...`` finds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import flask_forge_jobs
from flask_forge_jobs import errors

# Type checkers see the names themselves.
PUBLIC: list[str] = vars(flask_forge_jobs)["__all__"]
DOCS = Path(__file__).parents[1] / "docs"
# What the reference offers under these or similar names.
OF_THE_REFERENCE = {
    "BulkLimits", "ChildPool", "CmdExec", "EnvironmentPaths", "JobFilter", "NoopEcho",
    "Redactor", "ScheduleExistsError", "ScheduleNotFoundError", "cron_tick_once",
    "fold_metrics_once", "parse_cron", "queues_from_env", "reap_once", "rebalance_once",
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_there_and_explained(name: str) -> None:
    value = getattr(flask_forge_jobs, name)

    assert value.__doc__
    assert name in dir(flask_forge_jobs)


def test_the_names_of_the_reference_are_public() -> None:
    assert set(PUBLIC) >= OF_THE_REFERENCE


def test_every_public_name_is_in_the_reference() -> None:
    pages = "".join(page.read_text("utf-8") for page in DOCS.rglob("*.rst"))
    shown = re.findall(
        r"^\.\. auto(?:class|data|function):: (?:[\w.]+\.)?(\w+)$", pages, re.MULTILINE
    )

    assert set(PUBLIC) - set(vars(errors)) <= set(shown)


def test_the_page_for_applications_has_public_names_only() -> None:
    page = (DOCS / "reference" / "python.rst").read_text("utf-8")
    shown = re.findall(r"^\.\. auto(?:class|data|function):: (.+)$", page, re.MULTILINE)

    assert len(shown) > 20
    assert set(shown) <= set(PUBLIC)
    assert "automodule" not in page


def test_any_other_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'CmdExecutor'"):
        _ = flask_forge_jobs.CmdExecutor  # type: ignore[attr-defined]
    with pytest.raises(ImportError):
        from flask_forge_jobs import ChildPools  # type: ignore[attr-defined]  # noqa: F401
