from __future__ import annotations

import json
import logging
import sys

from flask_forge_jobs.cli.logs import JsonFormatter


def record(*args: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord(
        "shop", logging.INFO, "shop.py", 7, args[0], args[1:], None
    )
    vars(made).update(more)
    return made


def line(made: logging.LogRecord) -> dict[str, object]:
    text = JsonFormatter().format(made)
    assert "\n" not in text
    entry: dict[str, object] = json.loads(text)
    return entry


def test_a_record_is_one_line_of_json() -> None:
    entry = line(record("two\n%s", "lines", created=1_700_000_000.25))

    assert entry == {
        "time": "2023-11-14T22:13:20.250000+00:00",
        "level": "INFO",
        "logger": "shop",
        "message": "two\nlines",
    }


def test_the_fields_of_a_job_stand_beside_the_others() -> None:
    entry = line(record("job done: id=%(id)s", {"id": "7", "attempt": 1}))

    assert entry["message"] == "job done: id=7"
    assert (entry["id"], entry["attempt"]) == ("7", 1)


def test_an_exception_comes_with_its_traceback() -> None:
    try:
        {"there": 1}["gone"]
    except KeyError:
        made = record("failed", exc_info=sys.exc_info())

    assert str(line(made)["exception"]).endswith("KeyError: 'gone'")
