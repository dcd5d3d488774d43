"""Tracebacks: which frames are the application's, and how exceptions are chained."""

from __future__ import annotations

import asyncio
import json
import os
import traceback
from collections.abc import Callable

import pytest

from flask_forge_jobs.dashboard.job import tracebacks
from flask_forge_jobs.dashboard.job.tracebacks import library_of, parts_of

TIMEOUT = """\
Traceback (most recent call last):
  File "/srv/shop/billing/tasks.py", line 88, in charge_card
    receipt = gateway.capture(order, token)
              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/srv/shop/billing/gateway.py", line 141, in capture
    return self._call('POST', '/captures', body)
           ~~~~~~~~~~^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/venv/lib/python3.13/site-packages/requests/sessions.py", line 5, in send
    adapter.send(request)
  File "/venv/lib/python3.13/site-packages/urllib3/pool.py", line 9, in urlopen
    return self._make_request(
  File "/usr/lib/python3.13/http/client.py", line 12, in getresponse
    response.begin()
  File "/srv/shop/billing/gateway.py", line 52, in _call
    raise GatewayTimeout(f'no answer in {self.timeout}s')
shop.GatewayTimeout: no answer in 30s
second line"""


def raised(function: Callable[[], object]) -> str:
    """Return the traceback of what a function raises."""
    try:
        function()
    except Exception:  # noqa: BLE001
        return traceback.format_exc().rstrip()
    raise AssertionError("nothing was raised")


def test_frames_of_libraries_are_folded_and_named() -> None:
    (part,) = parts_of(TIMEOUT)

    assert part.message == "shop.GatewayTimeout: no answer in 30s\nsecond line"
    assert [(each.is_own, len(each.frames)) for each in part.groups] == [
        (True, 2), (False, 3), (True, 1),
    ]  # fmt: skip
    assert part.groups[1].libraries == "requests, urllib3, http"


def test_a_frame_has_path_line_function_and_code() -> None:
    frame = parts_of(TIMEOUT)[0].frames[1]

    assert (frame.path, frame.line, frame.name) == (
        "/srv/shop/billing/gateway.py", "141", "capture",
    )  # fmt: skip
    assert frame.short_path == "shop/billing/gateway.py"
    assert frame.code == ["return self._call('POST', '/captures', body)"]


def test_a_path_of_a_library_begins_with_its_name() -> None:
    assert parts_of(TIMEOUT)[0].frames[2].short_path == "requests/sessions.py"


@pytest.mark.parametrize(
    ("path", "library"),
    [
        ("/srv/app/tasks.py", None),
        ("C:\\shop\\tasks.py", None),
        ("tasks.py", None),
        ("/home/lib/python/tasks.py", None),
        ("/v/lib/python3.12/site-packages/flask/app.py", "flask"),
        ("/usr/lib/python3/dist-packages/six.py", "six"),
        ("C:\\v\\Lib\\site-packages\\flask\\app.py", "flask"),
        ("C:\\Python312\\Lib\\json\\decoder.py", "json"),
        ("/srv/src/flask_forge_jobs/tasks/context.py", "flask_forge_jobs"),
        ("/srv/src/flask_forge_jobs/demo.py", None),
        ("<frozen importlib._bootstrap>", "frozen importlib._bootstrap"),
        ("<string>", "string"),
        (os.__file__, "os"),
        (json.__file__, "json"),
        (asyncio.__file__, "asyncio"),
    ],
)
def test_a_file_belongs_to_a_library_or_to_the_application(
    path: str, library: str | None
) -> None:
    assert library_of(path) == library


def test_without_own_frames_the_last_one_is_open() -> None:
    (part,) = parts_of(raised(lambda: json.loads("{")).replace(__file__, "<made>"))

    assert [each.is_own for each in part.groups] == [False, True]
    assert len(part.groups[1].frames) == 1


def test_the_exception_that_ended_the_attempt_comes_first() -> None:
    def fail() -> None:
        try:
            try:
                raise KeyError("id")  # noqa: TRY301
            except KeyError as error:
                raise ValueError("no id") from error
        except ValueError:
            raise RuntimeError("gave up")  # noqa: B904

    parts = parts_of(raised(fail))

    assert [(each.link, each.message) for each in parts] == [
        (None, "RuntimeError: gave up"),
        ("While handling", "ValueError: no id"),
        ("Caused by", "KeyError: 'id'"),
    ]
    assert all(each.frames for each in parts)


def test_a_cut_beginning_is_left_out_and_said() -> None:
    cut = TIMEOUT[TIMEOUT.index("capture(order") :]

    (part,) = parts_of(cut)

    assert part.is_cut
    assert [frame.name for frame in part.frames] == [
        "capture", "send", "urlopen", "getresponse", "_call",
    ]  # fmt: skip


def test_repeated_lines_are_kept_with_their_frame() -> None:
    def deeper() -> None:
        deeper()

    (part,) = parts_of(raised(deeper))

    assert part.message.startswith("RecursionError")
    assert any(
        line.startswith("[Previous line repeated")
        for frame in part.frames
        for line in frame.code
    )


def test_members_of_a_group_stay_as_text() -> None:
    def one(text: str) -> ValueError:
        try:
            raise ValueError(text)  # noqa: TRY301
        except ValueError as error:
            return error

    def fail() -> None:
        raise ExceptionGroup("both", [one("one"), one("two")])

    (part,) = parts_of(raised(fail))

    assert part.frames[-1].name == "fail"
    assert part.message.startswith("ExceptionGroup: both (2 sub-exceptions)")
    assert "ValueError: one" in part.message
    assert "ValueError: two" in part.message


@pytest.mark.parametrize("text", ["", "GatewayTimeout", "<script>\n\n  File", "é" * 9])
def test_a_text_that_is_no_traceback_is_kept(text: str) -> None:
    (part,) = parts_of(text)

    assert (part.message, part.frames) == (text, [])


def test_a_message_that_looks_like_frames_stays_a_message() -> None:
    forged = f'{TIMEOUT}\n  File "/srv/evil.py", line 1, in evil\n    evil()'

    (part,) = parts_of(forged)

    assert len(part.frames) == 6
    assert part.message.endswith("evil()")


def test_a_damaged_text_is_bounded() -> None:
    (part,) = parts_of(' File "' * 100_000)

    assert len(part.message) <= tracebacks.MAX_TEXT
