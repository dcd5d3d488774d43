"""Every sentence leads to a page, by its action or by what it names."""

from __future__ import annotations

from typing import Any

import pytest

from flask_forge_jobs.dashboard.shown_pages import page_about, page_of
from flask_forge_jobs.model.sentences import Action, Sentence


@pytest.mark.parametrize(
    ("path", "parts", "query"),
    [
        ("/v1/storage/info", ("system",), {}),
        ("/v1/jobs/01KB", ("jobs", "01KB"), {}),
        ("/v1/jobs?queue=a%26b&waiting=1", ("jobs",),
         {"queue": ["a&b"], "waiting": ["1"]}),
        ("/v1/rate-limits/crm%2Fx", ("limits",), {"q": ["crm/x"]}),
        ("/v1/batches/01KB", ("batches", "01KB"), {}),
        ("/v1/queue/workers", ("workers",), {}),
    ],
)  # fmt: skip
def test_what_a_request_shows_is_a_page(
    path: str, parts: tuple[str, ...], query: dict[str, Any]
) -> None:
    shown = page_of(Action("GET", path, "Show it"))

    assert shown is not None
    assert (shown.label, shown.parts, shown.query) == ("Show it", parts, query)
    assert shown.path == f"/{parts[0]}"


@pytest.mark.parametrize(
    "action",
    [Action("POST", "/v1/jobs/7/retry", "Retry"), Action("GET", "/v1/me", "Show")],
)
def test_a_change_and_an_unknown_request_have_none(action: Action) -> None:
    assert page_of(action) is None


@pytest.mark.parametrize(
    ("evidence", "label", "parts"),
    [
        ({"queue": "mail", "command": "x"}, "Show queue", ("queues", "mail")),
        ({"jobs": 3, "queues": ["a", "b"]}, "Show workers", ("workers",)),
        ({"batch": "01KB", "name": "x"}, "Show batch", ("batches", "01KB")),
        ({"schedule": "n", "queue": "q"}, "Show schedule", ("cron", "n")),
        ({"stored": 1, "known": 2}, "Show database", ("system",)),
        ({"hazards": ["x"]}, "Show database", ("system",)),
    ],
)
def test_a_sentence_without_a_request_leads_to_its_subject(
    evidence: dict[str, object], label: str, parts: tuple[str, ...]
) -> None:
    shown = page_about(Sentence("code", "Text.", evidence))

    assert shown is not None
    assert (shown.label, shown.parts) == (label, parts)


def test_a_sentence_about_nothing_leads_nowhere() -> None:
    assert page_about(Sentence("code", "Text.", {"needs": 0})) is None
