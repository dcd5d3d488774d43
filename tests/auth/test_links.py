from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from flask import Flask
from itsdangerous import URLSafeSerializer

from flask_forge_jobs.auth.links import StatusLinks
from flask_forge_jobs.auth.signing import Signer
from flask_forge_jobs.errors import ConfigurationError, InvalidInputError
from tests.support.clocks import MovingClock

JOB_ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
NEW, OLD = "new secret, thirty-two characters", "old secret, thirty-two characters"


@pytest.fixture
def app() -> Flask:
    app = Flask("shop")
    app.secret_key = "first"
    return app


@pytest.fixture
def links(clock: MovingClock) -> StatusLinks:
    return StatusLinks(Signer(()), clock)


def test_a_token_leads_to_its_job_until_it_expires(
    links: StatusLinks, app: Flask, clock: MovingClock
) -> None:
    token = links.token(app, JOB_ID, 60)

    clock.move(59)
    assert links.job_id(app, token) == JOB_ID
    clock.move(1)
    assert links.job_id(app, token) is None


def test_a_token_fits_into_one_segment_of_a_path(
    links: StatusLinks, app: Flask
) -> None:
    token = links.token(app, JOB_ID, 366 * 86_400)

    assert token.replace("-", "").replace("_", "").replace(".", "").isalnum()
    assert len(token) < 150


def test_what_was_changed_or_signed_for_something_else_leads_nowhere(
    links: StatusLinks, app: Flask
) -> None:
    token = links.token(app, JOB_ID, 60)
    payload, _, signature = token.rpartition(".")
    other_job = _encoded([JOB_ID[:-1] + "W", 2**40])
    same_secret = URLSafeSerializer("first", salt="session")

    for changed in (
        f"{other_job}.{signature}",
        f"{payload}.{signature[:-1]}",
        payload,
        "",
        ".",
        "a.b.c",
        "\ud800",
        "é",
        "x" * 10_000,
        same_secret.dumps([JOB_ID, 2**40]),
    ):
        assert links.job_id(app, changed) is None, changed


def _encoded(value: Any) -> str:
    text = json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def test_a_secret_of_before_still_counts_and_a_forgotten_one_does_not(
    links: StatusLinks, app: Flask
) -> None:
    old = links.token(app, JOB_ID, 60)
    app.secret_key = "second"
    assert links.job_id(app, old) is None

    app.config["SECRET_KEY_FALLBACKS"] = ["first"]

    assert links.job_id(app, old) == JOB_ID
    app.config["SECRET_KEY_FALLBACKS"] = None
    assert links.job_id(app, links.token(app, JOB_ID, 60)) == JOB_ID


def test_secrets_of_our_own_take_the_place_of_the_applications(
    links: StatusLinks, app: Flask, clock: MovingClock
) -> None:
    own = StatusLinks(Signer((NEW, OLD)), clock)

    assert own.job_id(app, StatusLinks(Signer((OLD,)), clock).token(app, JOB_ID, 60))
    assert own.job_id(app, links.token(app, JOB_ID, 60)) is None
    # Signed with the newest.
    token = own.token(app, JOB_ID, 60)
    assert StatusLinks(Signer((NEW,)), clock).job_id(app, token) == JOB_ID


def test_a_short_secret_is_refused(clock: MovingClock) -> None:
    """Also that of a blueprint, which has no settings."""
    with pytest.raises(ConfigurationError, match="FORGE_JOBS_LINK_SECRETS: must be a"):
        StatusLinks(Signer((NEW, OLD[:31])), clock)


def test_without_a_secret_nothing_is_signed_and_nothing_counts(
    links: StatusLinks, app: Flask
) -> None:
    token = links.token(app, JOB_ID, 60)
    app.secret_key = None
    app.config["SECRET_KEY_FALLBACKS"] = ["first"]

    assert links.job_id(app, token) is None
    with pytest.raises(ConfigurationError, match="SECRET_KEY"):
        links.token(app, JOB_ID, 60)


@pytest.mark.parametrize("seconds", [0, -1, 0.5, 366 * 86_400 + 1, "60", float("nan")])
def test_a_link_must_end(links: StatusLinks, app: Flask, seconds: Any) -> None:
    with pytest.raises(InvalidInputError, match="expires_in_s"):
        links.token(app, JOB_ID, seconds)
