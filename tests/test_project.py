"""What the project as a whole promises about its security (S46 to S49)."""

from __future__ import annotations

import ast
import configparser
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_forge_jobs.auth.permissions import ROLES, Permission

ROOT = Path(__file__).resolve().parents[1]
# What a source distribution lacks.
LEFT_OUT = ("tests/acceptance", "tests/mutants")
PACKAGE = ROOT / "flask_forge_jobs"
# What is needed to run, with the name that it is imported by.
IMPORTED_AS = {
    "Flask": "flask",
    "Werkzeug": "werkzeug",
    "apispec": "apispec",
    "marshmallow": "marshmallow",
    "prometheus-client": "prometheus_client",
    "prometheus-flask-exporter": "prometheus_flask_exporter",
    "tzdata": None,  # zoneinfo finds it
}
# Installed by an extra, or by whoever loads the module; imported in these only.
OPTIONAL = {"psycopg2": "storage/", "gunicorn": "server", "pytest": "testing/plugin.py"}
# The application's own: used only where it has been imported already.
FOREIGN = {
    "alembic": ("alembic.py",),
    "psycopg": ("storage/postgres/other_drivers.py",),
    "sqlalchemy": (
        "config/engine_urls.py",
        "sharing.py",
        "storage/caller_transaction.py",
        "storage/sqlite/join.py",
    ),
}
# They come with Flask, which promises them, and with newer versions of Python.
COME_ALONG = {
    "blinker", "click", "itsdangerous", "jinja2", "markupsafe", "annotationlib"
}  # fmt: skip
# Of a rule about security or swallowed errors, or of all rules at once.
SILENCER = re.compile(r"# (nosec\b|noqa(?!:)|noqa:[A-Z0-9, ]*\b(S[0-9]{3}|BLE001)\b)")
EXPLAINED = re.compile(r"# noqa: [A-Z0-9, ]+  # \w.*")


@pytest.fixture(scope="module")
def metadata() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture(scope="module")
def tools() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def _names(requirements: str) -> set[str]:
    lines = requirements.strip().splitlines()
    return {re.split(r"[<>=\[ ;]", line, maxsplit=1)[0] for line in lines}


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


# -- S46 ---------------------------------------------------------------------------


def test_sec_S46_few_packages_are_needed_and_all_are_known(
    metadata: configparser.ConfigParser,
) -> None:
    """A further dependency is a decision, made here."""
    assert _names(metadata["options"]["install_requires"]) == set(IMPORTED_AS)
    extras = metadata["options.extras_require"]
    assert _names(extras["postgres"]) == {"psycopg2-binary"}
    assert _names(extras["server"]) == {"gunicorn"}


def test_sec_S46_nothing_else_is_imported() -> None:
    known = {*filter(None, IMPORTED_AS.values()), *COME_ALONG, PACKAGE.name}
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).as_posix()
        for name in set(_imports(path)) - known - sys.stdlib_module_names:
            if place in FOREIGN.get(name, ()):
                continue
            assert name in OPTIONAL, f"{place} imports {name}"
            assert place.startswith(OPTIONAL[name]), f"{place} imports {name}"


def test_sec_S46_installing_runs_nothing_of_ours(
    metadata: configparser.ConfigParser, tools: dict[str, Any]
) -> None:
    assert not (ROOT / "setup.py").exists()
    assert tools["build-system"]["build-backend"] == "setuptools.build_meta"
    assert "backend-path" not in tools["build-system"]
    assert "setuptools" not in tools.get("tool", {})
    for section in metadata.sections():
        assert not {"cmdclass", "setup_requires"} & set(metadata[section]), section


def test_sec_S46_a_release_is_audited_and_says_what_is_in_it() -> None:
    """A vulnerability that is known ends it before anything is published."""
    flow = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    build, publish = flow.split("  publish:\n")

    assert "pip-audit --path installed/" in build
    assert "cyclonedx-py environment --validate" in build
    assert "needs: build" in publish
    for step in ("attest-build-provenance", "attest-sbom", "gh-action-pypi-publish"):
        assert step in publish
    assert not re.search("password|secrets[.]", flow)


# -- S47 ---------------------------------------------------------------------------


def test_sec_S47_policy_says_where_to_report_and_what_follows() -> None:
    policy = (ROOT / ".github" / "SECURITY.md").read_text("utf-8")

    for part in (
        "Supported versions", "Report a vulnerability", "48 hours", "7 days", "14 days",
        "CVE",
    ):  # fmt: skip
        assert part in policy


# -- S48 ---------------------------------------------------------------------------


def test_sec_S48_every_check_is_on_for_the_package(tools: dict[str, Any]) -> None:
    """Ruff's S rules are those of bandit."""
    lint, mypy = tools["tool"]["ruff"]["lint"], tools["tool"]["mypy"]
    gate = (ROOT / ".ci" / "run").read_text("utf-8")

    assert lint["select"] == ["ALL"]
    assert not [rule for rule in lint["ignore"] if re.fullmatch(r"S[0-9]*", rule)]
    assert all(
        each.startswith(("tests/", "docs/", ".ci/"))
        for each in lint["per-file-ignores"]
    )
    assert mypy["strict"] is True
    assert PACKAGE.name in mypy["files"]
    assert {"    ruff check", "    mypy"} <= set(gate.splitlines())


def test_sec_S48_who_silences_a_check_of_security_says_why() -> None:
    unexplained = []
    for path in PACKAGE.rglob("*.py"):
        if not SILENCER.search(path.read_text("utf-8")):
            continue
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                if token.type != tokenize.COMMENT or not SILENCER.match(token.string):
                    continue
                if not EXPLAINED.fullmatch(token.string):
                    place = path.relative_to(ROOT).as_posix()
                    unexplained.append(f"{place}:{token.start[0]}: {token.string}")

    assert unexplained == []


# -- S49 ---------------------------------------------------------------------------


def test_sec_S49_threat_model_covers_every_permission_and_setting() -> None:
    page = (ROOT / "docs" / "explanation" / "security.rst").read_text("utf-8")
    index = (ROOT / "docs" / "index.rst").read_text("utf-8")
    rows = set(re.findall(r"^   \* - ``([a-z.]+)``$", page, re.MULTILINE))

    assert rows == {str(permission) for permission in Permission}
    assert "explanation/security" in index
    assert "run any registered task" in page
    assert "Owns the workers" in page
    table = (ROOT / "docs" / "reference" / "http.rst").read_text("utf-8")
    assert all(f"   * - ``{role}``" in table for role in ROLES)


# -- the checklist -----------------------------------------------------------------

# What the package does not do needs no test.
NOT_THERE = {35, 36}


def test_checklist_has_fifty_points_each_with_tests() -> None:
    page = (ROOT / "docs" / "explanation" / "security.rst").read_text("utf-8")
    points = [
        int(number) for number in re.findall(r"^   \* - S(\d\d)$", page, re.MULTILINE)
    ]
    tested = {
        int(number)
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(
            r"^ *def test_sec_(\w+)\(", path.read_text("utf-8"), re.MULTILINE
        )
        for number in re.findall(r"S(\d\d)(?=_)", name)
    }

    assert points == list(range(1, 51))
    assert tested == set(points) - NOT_THERE


def test_contributors_are_sent_to_paths_that_exist() -> None:
    page = (ROOT / "docs" / "contributing.rst").read_text("utf-8")
    section = page.partition("Where do I go?\n---")[2].partition("The whole gate\n---")[
        0
    ]
    answers = section.split("\n   * - ")[2:]
    paths = re.findall(r"``([a-z0-9_]+(?:/[a-z0-9_]+)*(?:\.[a-z]+)?)``", section)
    named = [path for path in paths if "/" in path or "." in path]
    if not (ROOT / "tests" / "mutants").is_dir():  # a source distribution
        named = [path for path in named if not path.startswith(LEFT_OUT)]

    missing = [
        path
        for path in named
        if not ((PACKAGE / path).exists() or (ROOT / path).exists())
    ]

    assert missing == []
    assert len(answers) >= 25
    assert all("``" in answer.partition("\n     - ")[2] for answer in answers)


def test_no_file_has_the_marks_of_an_unfinished_merge() -> None:
    folders = ("flask_forge_jobs", "tests", "docs", ".ci")
    files = [path for name in folders for path in (ROOT / name).rglob("*.*")]
    marks = re.compile(rb"^(?:<{7}|>{7}) ", re.MULTILINE)

    assert [
        path for path in files if path.is_file() and marks.search(path.read_bytes())
    ] == []


_PICTURE = re.compile(r"^\.\. image:: (\S+\.webp)\n((?:   .*\n)+)", re.MULTILINE)
MAX_PICTURE_BYTES = 120_000


def test_pictures_are_small_and_tell_in_words_what_they_show() -> None:
    found: dict[Path, list[str]] = {}
    for page in (ROOT / "README.rst", ROOT / "docs" / "howto" / "dashboard.rst"):
        for target, options in _PICTURE.findall(page.read_text("utf-8")):
            path = (page.parent / target).resolve()
            found.setdefault(page, []).append(path.stem)
            assert path.stat().st_size <= MAX_PICTURE_BYTES, path
            said = re.search(r":alt: ((?:.|\n)+)", options)
            assert said is not None, path
            assert len(said[1]) > 40, path

    readme, dashboard = found.values()
    assert readme == ["overview-light", "job-light"]
    assert len(dashboard) == 12
    lights = [name.removesuffix("-light") for name in dashboard if "-light" in name]
    darks = [name.removesuffix("-dark") for name in dashboard if "-dark" in name]
    assert lights == darks
