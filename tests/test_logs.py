from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from flask_forge_jobs.logs import get_logger

NAME = "tests.logs"


class Broken(logging.Filter):
    """A filter that asks for what is not there."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def filter(self, record: logging.LogRecord) -> bool:
        del record
        raise self._error


def fail_and_tell() -> None:
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        get_logger(NAME).exception("failed")


@pytest.fixture(params=[RuntimeError("no request"), SystemExit("enough")])
def broken(request: pytest.FixtureRequest) -> Iterator[None]:
    error: BaseException = request.param
    added = Broken(error)
    logging.getLogger(NAME).addFilter(added)
    yield
    logging.getLogger(NAME).removeFilter(added)


@pytest.mark.usefixtures("broken")
def test_no_call_raises(capsys: pytest.CaptureFixture[str]) -> None:
    logger = get_logger(NAME)

    logger.warning("one")
    logger.error("two", exc_info=ZeroDivisionError())

    assert capsys.readouterr().err.count("Traceback") >= 2


def test_a_program_that_logs_hears_ctrl_c() -> None:
    """The handler of the signal may raise anywhere, and does not do so again."""
    added = Broken(KeyboardInterrupt())
    logging.getLogger(NAME).addFilter(added)
    try:
        with pytest.raises(KeyboardInterrupt):
            get_logger(NAME).warning("one")
    finally:
        logging.getLogger(NAME).removeFilter(added)


def test_a_record_is_that_of_its_caller(caplog: pytest.LogCaptureFixture) -> None:
    get_logger(NAME).warning("%s of %s", 1, 2)

    (record,) = caplog.records
    assert (record.name, record.getMessage()) == (NAME, "1 of 2")
    assert record.funcName == "test_a_record_is_that_of_its_caller"


def test_an_exception_is_told_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail_and_tell()

    assert "ZeroDivisionError" in caplog.text
