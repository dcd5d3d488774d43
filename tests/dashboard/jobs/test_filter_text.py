"""The text field of a list: qualifiers, quotes, loose words and ids."""

from __future__ import annotations

import pytest

from flask_forge_jobs.dashboard.jobs.filter_text import job_id_in, parameters_of


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("", []),
        (
            "queue:mail kind:send error:timeout status:dead",
            [
                ("queue", "mail"),
                ("kind", "send"),
                ("error", "timeout"),
                ("status", "dead"),
            ],
        ),
        ('error:"no answer" Queue:mail', [("error", "no answer"), ("queue", "mail")]),
        ("tries:3 key:a:b", [("min_attempts", "3"), ("dedupe_key", "a:b")]),
        ("payload:card cron:nightly", [("q", "card"), ("cron", "nightly")]),
        ("mail send", [("queue", "mail"), ("kind", "send")]),
        ("GatewayTimeout: no answer", [("error", "GatewayTimeout: no answer")]),
        ("KeyError:id", [("error", "KeyError:id")]),
        ('"queue:mail"', [("error", "queue:mail")]),
    ],
)
def test_a_text_means_parameters(text: str, parameters: list[tuple[str, str]]) -> None:
    assert parameters_of(text, queues={"mail"}, kinds={"send"}) == parameters


@pytest.mark.parametrize(
    ("text", "job_id"),
    [
        (" 01kb0000000000000000000000 ", "01KB0000000000000000000000"),
        ("01KB000000000000000000000", None),
        ("01KB0000000000000000000000 mail", None),
    ],
)
def test_an_id_alone_is_a_job(text: str, job_id: str | None) -> None:
    assert job_id_in(text) == job_id
