"""Which programs jobs may run, with which arguments."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import EllipsisType

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.tasks.bundled.programs import AllowedPrograms

REPORT = "/srv/report"
Patterns = list[str | re.Pattern[str] | EllipsisType]


@pytest.mark.parametrize(
    ("patterns", "arguments"),
    [
        ([], []),
        ([r"\d{4}", "pdf|csv"], ["2026", "csv"]),
        ([re.compile("[a-z]+", re.IGNORECASE)], ["ABC"]),
        ([r"\w+", ...], []),
        (["-v", r"\w+", ...], ["-v"]),
        (["-v", r"\w+", ...], ["-v", "a", "b", "c"]),
    ],
)
def test_arguments_that_fit_are_allowed(
    patterns: Patterns, arguments: list[str]
) -> None:
    programs = AllowedPrograms({REPORT: patterns})

    assert programs.path_of(["report", *arguments]) == REPORT
    assert programs.path_of([REPORT, *arguments]) == REPORT


@pytest.mark.parametrize(
    ("patterns", "arguments", "message"),
    [
        ([], ["x"], "'report' takes 0 arguments here, not 1"),
        ([r"\d{4}", "pdf|csv"], ["2026"], "'report' takes 2 arguments here, not 1"),
        ([r"\d{4}"], ["2026", "x"], "'report' takes 1 arguments here, not 2"),
        (["-v", r"\w+", ...], [], "'report' takes at least 1 arguments here, not 0"),
        ([r"\d{4}"], ["2026x"], "argument 1 of 'report' is not allowed"),
        ([r"\d{4}$"], ["2026\n"], "argument 1 of 'report' is not allowed"),
        (["-v", r"\w+"], ["-v", "-x"], "argument 2 of 'report' is not allowed"),
        ([r"\w+", ...], ["a", "b", "--c"], "argument 3 of 'report' is not allowed"),
    ],
)
def test_other_arguments_are_refused(
    patterns: Patterns, arguments: list[str], message: str
) -> None:
    programs = AllowedPrograms({REPORT: patterns})

    with pytest.raises(InvalidInputError, match=f"^argv: {message}$"):
        programs.path_of(["report", *arguments])


def test_a_listed_program_gets_no_arguments() -> None:
    programs = AllowedPrograms([REPORT, Path(REPORT), "/srv/tidy"])

    assert programs.path_of(["tidy"]) == "/srv/tidy"
    with pytest.raises(InvalidInputError, match="takes 0 arguments"):
        programs.path_of(["tidy", "--all"])


@pytest.mark.parametrize(
    "argv", ["tidy", "./report", "../srv/report", "/srv/report/", ""]
)
def test_other_programs_are_refused(argv: str) -> None:
    with pytest.raises(InvalidInputError, match="is not allowed"):
        AllowedPrograms([REPORT]).path_of([argv])


@pytest.mark.parametrize(
    ("programs", "message"),
    [
        ([], "name at least one"),
        ({}, "name at least one"),
        (REPORT, "must be a list or a dict of programs"),
        (["report"], "'report' is not an absolute path"),
        (["/bin/x", "/usr/bin/x"], "two programs are named 'x'"),
        ({REPORT: r"\d"}, "'/srv/report' needs a list of patterns"),
        ({REPORT: None}, "'/srv/report' needs a list of patterns"),
        ({REPORT: ["("]}, "'/srv/report': '\\(' is no pattern of text"),
        ({REPORT: [1]}, "'/srv/report': 1 is no pattern of text"),
        ({REPORT: [b"x"]}, "'/srv/report': .* is no pattern of text"),
        ({REPORT: [...]}, "'/srv/report': .* is no pattern of text"),
        ({REPORT: ["x", ..., "y"]}, "'/srv/report': .* is no pattern of text"),
    ],
)
def test_a_wrong_list_is_refused(programs: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^programs: {message}"):
        AllowedPrograms(programs)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    "programs",
    [
        {"/usr/bin/sort": [".*", ...]},
        {"/usr/bin/sort": ["-u", "--.+"]},
        {"/usr/bin/env": ["[a-z]+"]},
        {"/usr/bin/find": ["/.*"]},
        {"/opt/tar-1.34": ["(?s).+", ...]},
        {"/usr/bin/python3.11": []},
        {"/usr/bin/python3": [r"\w+\.py", ...]},
        {sys.executable: ["-c", ".*"]},
    ],
)
def test_a_program_that_runs_others_is_refused(
    programs: Mapping[str | Path, Patterns],
) -> None:
    with pytest.raises(InvalidInputError, match="runs programs or writes files as"):
        AllowedPrograms(programs)


def test_a_link_to_a_program_that_runs_others_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "report"
    link.symlink_to(sys.executable)

    with pytest.raises(InvalidInputError, match="runs programs or writes files as"):
        AllowedPrograms([link])


def test_a_program_that_runs_others_may_get_fixed_arguments() -> None:
    programs = AllowedPrograms(
        {sys.executable: [r"/srv/report\.py", r"\d+"], "/usr/bin/sort": ["-u|-r"]}
    )

    assert programs.path_of(["sort", "-u"]) == "/usr/bin/sort"
