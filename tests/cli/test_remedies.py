from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import click
import pytest

import flask_forge_jobs.handlers
from flask_forge_jobs.cli.group import forge_jobs_group
from flask_forge_jobs.cli.remedies import remedy_of
from flask_forge_jobs.model.sentences import Action, Sentence

HANDLERS = Path(flask_forge_jobs.handlers.__file__).parent
ID = "01890a5d-ac96-774b-bcce-b302099a8057"
RESUME = {"action": "resume", "queues": ["a b"]}
END = {"action": "end_cooldown", "queues": ["mail"]}
RUN_NOW = {"action": "run_now", "ids": [ID]}
RETRY = {
    "action": "retry",
    "filter": {"queues": ["mail"], "kinds": ["send"], "statuses": ["dead"]},
    "expected": 3,
}
Case = tuple[str, str, str]
CASES: dict[Case, tuple[Mapping[str, object] | None, str]] = {
    ("POST", "/v1/queues/actions", "resume"): (RESUME, "queues resume 'a b'"),
    ("POST", "/v1/queues/actions", "end"): (END, "queues end-cool-down mail"),
    ("POST", "/v1/jobs/actions", "run"): (RUN_NOW, f"jobs run-now {ID}"),
    ("POST", "/v1/jobs/actions", "retry"): (
        RETRY,
        "jobs retry --queue mail --kind send --status dead",
    ),
    ("PATCH", "/v1/queues/a%20b", ""): (
        {"max_pending": 2},
        "queues set 'a b' --max-pending 2",
    ),
    ("POST", f"/v1/jobs/{ID}/retry", ""): (None, f"jobs retry {ID}"),
    ("POST", f"/v1/jobs/{ID}/retry?dependents=1", ""): (
        None,
        f"jobs retry {ID} --dependents",
    ),
    ("POST", f"/v1/jobs/{ID}/release", ""): (None, f"jobs release {ID}"),
    ("POST", f"/v1/batches/{ID}/retry", ""): (None, f"batches retry {ID}"),
    ("POST", f"/v1/batches/{ID}/seal", ""): (None, f"batches seal {ID}"),
    ("GET", f"/v1/batches/{ID}", ""): (None, f"batches show {ID}"),
    ("GET", "/v1/jobs?queue=mail&waiting=1", ""): (
        None,
        "jobs list --queue mail --waiting",
    ),
    ("POST", "/v1/cron/nightly/trigger", ""): (None, "cron trigger nightly"),
    ("GET", f"/v1/jobs/{ID}", ""): (None, f"jobs show {ID}"),
    ("GET", "/v1/jobs?queue=mail&kind=a+b", ""): (
        None,
        "jobs list --queue mail --kind 'a b'",
    ),
    ("GET", "/v1/errors?queue=mail&kind=send", ""): (
        None,
        "errors --queue mail --kind send",
    ),
    ("GET", "/v1/workers", ""): (None, "workers"),
    ("GET", "/v1/queue/workers", ""): (None, "workers"),
    ("GET", "/v1/rate-limits", ""): (None, "limits list"),
    ("GET", "/v1/rate-limits/api", ""): (None, "limits list"),
    ("GET", "/v1/storage/info", ""): (None, "db status"),
}


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_a_request_becomes_a_command_that_parses(case: Case) -> None:
    method, path, _ = case
    body, command = CASES[case]

    remedy = remedy_of(Sentence("code", "text", {}, Action(method, path, "Do", body)))

    assert remedy == f"$ flask forge-jobs {command}"
    group: click.Command = forge_jobs_group
    words = shlex.split(command)
    while isinstance(group, click.Group):
        (word, *words) = words
        found = group.get_command(click.Context(group), word)
        assert found is not None
        group = found
    group.make_context("it", words)


def test_a_request_without_a_command_is_shown() -> None:
    trigger = Action("POST", "/v1/nothing", "Do it")

    remedy = remedy_of(Sentence("code", "text", {}, trigger))

    assert remedy == "Do it: POST /v1/nothing"


def test_a_sentence_without_an_action_has_none() -> None:
    assert remedy_of(Sentence("queue_empty", "mail is empty.")) is None


def test_these_are_the_requests_of_all_sentences() -> None:
    """Names and queries are left out."""
    requests = set()
    for path in HANDLERS.rglob("*.py"):
        if path.parent.name == "attention" or path.name.startswith("explain"):
            requests |= set(re.findall(r'"(/v1/[^"]*)"', path.read_text("utf-8")))

    def bare(path: str) -> str:
        return re.sub(r"\{[^}]*(\{[^}]*\})?[^}]*\}", "x", path).partition("?")[0]

    known = {re.sub(f"{ID}|nightly|a%20b|api$", "x", path) for _, path, _ in CASES}
    assert {bare(each) for each in requests} == {bare(each) for each in known}
