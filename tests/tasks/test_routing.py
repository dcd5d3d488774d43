from __future__ import annotations

import pytest

from flask_forge_jobs.tasks.routing import (
    DefaultRouter,
    KindPrefixRouter,
    queues_from_env,
)


@pytest.mark.parametrize("kind", ["", "gh_sync", "noop_echo"])
def test_default_router_sends_everything_to_default(kind: str) -> None:
    assert DefaultRouter()(kind) == "default"


@pytest.mark.parametrize("kind", ["gh_issue_refresh", "gh_board_scan", "gh_"])
def test_routes_gh_prefix_to_gh_queue(kind: str) -> None:
    assert KindPrefixRouter()(kind) == "gh"


@pytest.mark.parametrize("kind", ["slack_channel_scan", "slack_thread_refresh"])
def test_routes_slack_prefix_to_slack_queue(kind: str) -> None:
    assert KindPrefixRouter()(kind) == "slack"


@pytest.mark.parametrize("kind", ["noop_echo", "tickets_sync", "", "gh", "ghost_x"])
def test_unknown_prefix_routes_to_default(kind: str) -> None:
    assert KindPrefixRouter()(kind) == "default"


def test_prefixes_can_be_chosen() -> None:
    router = KindPrefixRouter({"mail": "outbound"})

    assert router("mail_send") == "outbound"
    assert router("gh_sync") == "default"


@pytest.mark.parametrize(
    ("value", "queues"),
    [
        (None, []),
        ("", []),
        (" , ,", []),
        ("mail", ["mail"]),
        (" mail , gh,,default ", ["mail", "gh", "default"]),
    ],
)
def test_queues_from_env_trims_and_drops_blanks(
    value: str | None, queues: list[str]
) -> None:
    environ = {} if value is None else {"FORGE_QUEUES": value}

    assert queues_from_env(environ) == queues


def test_queues_from_env_looks_in_the_environment_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FORGE_QUEUES", raising=False)
    assert queues_from_env() == []

    monkeypatch.setenv("FORGE_QUEUES", "mail, gh")

    assert queues_from_env() == ["mail", "gh"]
