from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import MAX_PAYLOAD_BYTES
from flask_forge_jobs.model.outcomes import (
    Dead,
    EndedJob,
    FollowUp,
    Throttled,
    ThrottleScope,
    clip,
)

TELL = FollowUp("tell", "ended", "mail", -1, 2)
ENDED = EndedJob(
    id="01JOB",
    kind="export",
    queue_name="default",
    arguments=None,
    attempts=5,
    error="KeyError: 'id'",
    ending="dead",
)


@pytest.mark.parametrize(
    ("asked", "kept"),
    [(-1, 0), (0, 0), (1.5, 1.5), (86_400, 86_400), (math.inf, 86_400)],
)
def test_throttle_clamps_its_hint(asked: float, kept: float) -> None:
    assert Throttled(asked).retry_after_s == kept


@pytest.mark.parametrize("asked", [math.nan, "soon", None])
def test_throttle_refuses_what_is_no_number_of_seconds(asked: Any) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Throttled(asked)

    assert caught.value.field == "retry_after_s"


def test_throttle_refuses_an_unknown_scope() -> None:
    assert Throttled().scope is ThrottleScope.QUEUE
    with pytest.raises(ValueError, match="cluster"):
        Throttled(scope="cluster")


def test_throttle_and_death_can_be_raised() -> None:
    with pytest.raises(Throttled, match="throttled for 2"):
        raise Throttled(2)
    with pytest.raises(Dead, match="no such user"):
        raise Dead("no such user")


@given(st.text(st.characters()), st.integers(1, 50))
def test_clip_returns_text_that_both_databases_store(text: str, longest: int) -> None:
    clipped = clip(text, longest)

    assert len(clipped.encode()) <= longest
    assert "\x00" not in clipped


def test_clip_never_cuts_a_character_in_half() -> None:
    assert clip("aé€", 3) == "aé"
    assert clip("aé€", 5) == "aé"
    assert clip("aé€", 6) == "aé€"


def test_clip_shows_what_it_replaced() -> None:
    assert clip("a\x00b") == "a\ufffdb"


def test_the_task_is_told_all_of_the_job() -> None:
    job = TELL.job(ENDED, '{"user_id":7}')

    assert json.loads(job.payload) == {"ended": ENDED | {"arguments": {"user_id": 7}}}
    assert (job.kind, job.queue_name, job.priority) == ("tell", "mail", -1)
    assert job.max_attempts == 2
    assert job.dedupe_key is None


@pytest.mark.parametrize(
    "payload",
    [
        "{", '"' + "x" * (MAX_PAYLOAD_BYTES - 2) + '"', "[" * 63 + "]" * 63,
    ],
    ids=["damaged", "large", "deep"],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_left_out(payload: str) -> None:
    """The end of a job must not fail of what follows it."""
    told = json.loads(TELL.job(ENDED, payload).payload)["ended"]

    assert told == ENDED


def test_the_longest_error_fits_beside_the_longest_arguments() -> None:
    payload = json.dumps(
        {"text": "x" * (MAX_PAYLOAD_BYTES - 65_536 - 11)}, separators=(",", ":")
    )
    ended = ENDED | {"error": "\u20ac" * 2730, "kind": "\u20ac" * 128}

    told = json.loads(TELL.job(ended, payload).payload)["ended"]

    assert len(payload) == MAX_PAYLOAD_BYTES - 65_536
    assert told["arguments"] == json.loads(payload)
