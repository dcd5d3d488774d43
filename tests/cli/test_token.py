"""``flask forge-jobs token new``: what it prints is what the API accepts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flask_forge_jobs.auth.permissions import ROLES, Principal
from flask_forge_jobs.auth.tokens import TokenSet
from flask_forge_jobs.cli.group import forge_jobs_group
from tests.cli.console import Console


def _new(*options: str) -> Result:
    return CliRunner().invoke(forge_jobs_group, ["token", "new", *options])


def _printed(*options: str) -> tuple[str, dict[str, object]]:
    result = _new(*options)
    assert result.exit_code == 0, result.output
    token, entry = result.stdout.splitlines()
    return token, json.loads(entry)


@pytest.mark.parametrize("role", ROLES)
def test_printed_entry_accepts_the_printed_token(role: str) -> None:
    token, entry = _printed("--role", role, "--name", "ci")

    assert list(entry) == ["id", "sha256", "role"]
    assert TokenSet.from_config([entry]).principal(token) == Principal.with_role(
        "ci", role
    )


def test_queues_and_expiry_go_into_the_entry() -> None:
    token, entry = _printed(
        "--role", "operator", "--queue", "mail", "--queue", "bank",
        "--expires", "2999-01-31",
    )  # fmt: skip

    assert entry["queues"] == ["mail", "bank"]
    assert entry["expires_at"] == "2999-01-31T00:00:00+00:00"
    principal = TokenSet.from_config([entry]).principal(token)
    assert principal is not None
    assert principal.queues == frozenset({"mail", "bank"})


def test_sec_S03_token_is_shown_once_and_the_entry_does_not_hold_it() -> None:
    result = _new("--role", "viewer")
    token = result.stdout.splitlines()[0]

    assert result.output.count(token) == 1
    assert "not shown again" in result.stderr


def test_ids_are_random_without_a_name() -> None:
    ids = {_printed("--role", "viewer")[1]["id"] for _ in range(5)}

    assert len(ids) == 5


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ([], "--role"),
        (["--role", "root"], "--role"),
        (["--role", "viewer", "--name", "a_b"], "letters, digits"),
        (["--role", "viewer", "--queue", "a,b"], "is not a valid queue name"),
        (["--role", "viewer", "--name", ""], "letters, digits"),
        (["--role", "viewer", "--expires", "soon"], "must be a date"),
        (["--role", "viewer", "--expires", "9999-12-31T23:00:00-02:00"], "9999 (UTC)"),
        (["--role", "viewer", "--expires", "2999-01-31T00:00:00"], "no time zone"),
    ],
)
def test_wrong_option_prints_no_token(options: Sequence[str], why: str) -> None:
    result = _new(*options)

    assert result.exit_code != 0
    assert why in result.stderr
    assert "fj_" not in result.output


def test_check_says_what_a_token_allows(tmp_path: Path) -> None:
    token, entry = _printed("--role", "viewer", "--queue", "mail", "--name", "ci")
    console = Console(tmp_path, settings={"FORGE_JOBS_TOKENS": [entry]})

    known = console.run("token", "check", answer=f"{token}\n")
    unknown = console.run("token", "check", answer=f"{token}x\n")

    assert (known.exit_code, known.stdout) == (0, "ci: metrics, viewer; queues mail\n")
    assert unknown.exit_code == 1
    assert "unknown or expired" in unknown.stderr
    assert token not in known.output + unknown.output


def test_a_redirected_token_is_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt for a password opens the terminal, whatever the standard input is."""
    token, entry = _printed("--role", "viewer", "--name", "ci")
    console = Console(tmp_path, settings={"FORGE_JOBS_TOKENS": [entry]})
    monkeypatch.delattr("click.prompt")

    assert console.run("token", "check", answer=f"{token}\n").exit_code == 0


@pytest.mark.parametrize("given", ["", "\n"])
def test_no_token_is_a_wrong_call(console: Console, given: str) -> None:
    result = console.run("token", "check", answer=given)

    assert result.exit_code == 2
    assert result.stderr.endswith("there is no token on the standard input\n")
