from __future__ import annotations

import pytest

from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    Failed,
    Outcome,
    Released,
    Snooze,
    Throttled,
    ThrottleScope,
)
from flask_forge_jobs.runtime.run.task_messages import (
    decode,
    encode,
    outcome_message,
    outcome_of,
)


def sent(outcome: Outcome) -> Outcome:
    return outcome_of(decode(encode(outcome_message("job-1", outcome))))


@pytest.mark.parametrize(
    "outcome",
    [
        Done(),
        Done('{"a":"\\u00e9"}'),
        Failed("no good\n\u2028", retry_after_s=60.0),
        Failed(""),
        Released(),
    ],
)
def test_an_outcome_comes_back_as_it_was(outcome: Outcome) -> None:
    assert sent(outcome) == outcome


def test_a_failure_keeps_its_traceback() -> None:
    failed = sent(Failed("no good", traceback="in send\nValueError"))

    assert isinstance(failed, Failed)
    assert failed.traceback == "in send\nValueError"


def test_outcomes_that_are_exceptions_come_back_as_they_were() -> None:
    dead = sent(Dead("never", "in send"))
    throttled = sent(Throttled(1.5, scope="job", reason="HTTP 429"))
    snoozed = sent(Snooze(2.5, "no permit"))

    assert isinstance(dead, Dead)
    assert dead.message == "never"
    assert dead.traceback == "in send"
    assert isinstance(throttled, Throttled)
    assert (throttled.retry_after_s, throttled.scope) == (1.5, ThrottleScope.JOB)
    assert throttled.reason == "HTTP 429"
    assert type(throttled) is Throttled
    assert isinstance(snoozed, Snooze)
    assert (snoozed.retry_after_s, snoozed.reason) == (2.5, "no permit")


def test_a_message_is_one_line() -> None:
    line = encode({"text": "a\nb\r\u2028"})

    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")


@pytest.mark.parametrize("line", [b"", b"[]", b"null", b"{", b"\xff"])
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        decode(line)
