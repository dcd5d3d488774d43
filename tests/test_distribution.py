"""What an index gets: the metadata, and a source distribution that lacks nothing."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import flask_forge_jobs
from tests.test_architecture import ROOT, run

# What a build adds to the files of the project, or writes anew.
MADE = {"PKG-INFO", "setup.cfg", *(
    f"flask_forge_jobs.egg-info/{name}"
    for name in (
        "PKG-INFO", "SOURCES.txt", "dependency_links.txt", "entry_points.txt",
        "requires.txt", "top_level.txt",
    )
)}  # fmt: skip
# What only maintainers run.
LEFT_OUT = ("tests/acceptance/", "tests/benchmarks/", "tests/mutants/")
LEFT_OUT_TESTS = ("tests/test_mutants.py", "tests/dashboard/browser/test_million.py")
FOLDERS = (".ci", ".github", "docs", "flask_forge_jobs", "tests")
IMPORTED = re.compile(r"^ *(?:from|import) (tests\.[.\w]+)", re.MULTILINE)
LOCKED_EXTRAS = ("postgres", "server", "test", "full", "docs")
PAGE_FILES = {
    f"flask_forge_jobs/dashboard/{name}"
    for name in (
        "pages/index.py", "static/icon.svg", "static/scripts/core.js",
        "static/styles/tokens.css",
        "templates/forge_jobs/base.html", "templates/forge_jobs/index.html",
    )
}  # fmt: skip
LINK = re.compile(r"`[^`<]*<([^>]+)>`_")


def project_files() -> set[str]:
    """Return what git knows; without git, what lies in the folders of the project."""
    if (ROOT / ".git").exists():
        command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
        listed = [*command, "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True)
        names = {name for name in done.stdout.decode().split("\0") if name}
        return {name for name in names if (ROOT / name).exists()}
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    top = [path for path in ROOT.iterdir() if path.suffix != ".sqlite"]
    return {
        path.relative_to(ROOT).as_posix()
        for path in (*found, *top)
        if path.is_file()
        and "__pycache__" not in path.parts
        and not path.name.startswith(".coverage")
    }


def build(kind: str, folder: Path) -> Path:
    """Build a distribution in a folder, without git."""
    script = f"from setuptools.build_meta import build_{kind} as b; print(b('dist'))"
    done = run("-c", script, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "dist" / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the project and nothing else."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in project_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def unpacked(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, made where there is no git and unpacked."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(build("sdist", checkout)) as archive:
        archive.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    return root


def test_source_distribution_made_without_git_lacks_nothing(unpacked: Path) -> None:
    packed = {
        path.relative_to(unpacked).as_posix(): path.read_bytes()
        for path in unpacked.rglob("*")
        if path.is_file()
    }

    expected = {
        name
        for name in project_files() - MADE
        if not name.startswith(LEFT_OUT) and name not in LEFT_OUT_TESTS
    }
    assert set(packed) - MADE == expected
    for name in set(packed) - MADE:
        assert packed[name] == (ROOT / name).read_bytes(), name


def test_tests_of_the_source_distribution_need_nothing_that_it_lacks(
    unpacked: Path,
) -> None:
    """A packager runs the tests, not the drivers"""
    imported = {
        module.replace(".", "/")
        for path in unpacked.glob("tests/**/*.py")
        for module in IMPORTED.findall(path.read_text("utf-8"))
    }

    assert len(imported) > 20
    assert "tests/support/jobs" in imported
    for name in imported:
        assert (unpacked / name).is_dir() or (unpacked / f"{name}.py").is_file(), name


def test_an_index_gets_the_description(unpacked: Path) -> None:
    text = (unpacked / "PKG-INFO").read_text("utf-8")

    assert text.endswith((ROOT / "DESCRIPTION.rst").read_text("utf-8"))


@pytest.mark.long
def test_wheel_of_the_source_distribution_is_that_of_the_checkout(
    checkout: Path, unpacked: Path
) -> None:
    contents = []
    for folder in (checkout, unpacked):
        with zipfile.ZipFile(build("wheel", folder)) as wheel:
            contents.append({name: wheel.read(name) for name in wheel.namelist()})

    assert len(contents[0]) > 200
    assert contents[0] == contents[1]
    # Without them a page fails only where the package is installed.
    assert not PAGE_FILES - set(contents[0])


def test_version_is_that_of_the_distribution() -> None:
    assert flask_forge_jobs.__version__ == version("flask-forge-jobs")


@pytest.mark.parametrize(
    ("name", "release", "is_fine"),
    [
        # Imported, its fields take no type: no command of ``flask`` would run.
        ("marshmallow", "3.26.1", False),
        ("marshmallow", "4.0.0", True),
        # Whoever has these should not have to move them to try this.
        ("Flask", "3.0.0", True),
        ("Werkzeug", "3.0.0", True),
        ("gunicorn", "21.2.0", True),
    ],
)
def test_lower_bounds_say_what_works(name: str, release: str, *, is_fine: bool) -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    needed = parser["options"]["install_requires"].split("\n")
    needed += parser["options.extras_require"]["server"].split("\n")
    bounds = {each.name: each for each in map(Requirement, filter(None, needed))}

    assert (release in bounds[name].specifier) is is_fine


def test_lock_pins_what_the_development_environment_needs() -> None:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = parser["options.extras_require"]
    texts = [
        parser["options"]["install_requires"],
        *(extras[name] for name in LOCKED_EXTRAS),
    ]
    needed = [Requirement(line) for text in texts for line in text.split("\n") if line]
    lines = (ROOT / ".ci" / "requirements.txt").read_text("utf-8").splitlines()
    pinned: dict[str, list[SpecifierSet]] = {}
    for each in (Requirement(line) for line in lines if not line.startswith("#")):
        pinned.setdefault(canonicalize_name(each.name), []).append(each.specifier)

    for each in needed:
        if each.name != "flask-forge-jobs":
            for pin in pinned[canonicalize_name(each.name)]:
                (version_of,) = pin
                assert version_of.operator == "=="
                assert version_of.version in each.specifier, each
    assert not [line for line in lines if "://" in line]


BLOCK = re.compile(
    r"^(?:\.\. code-block:: python|.*::)\n\n((?: {4}.*\n|\n)+)", re.MULTILINE
)


def test_description_installs_and_links_nowhere_relative() -> None:
    """An index shows it without the other files of the project, such as pictures."""
    text = (ROOT / "DESCRIPTION.rst").read_text("utf-8")
    readme = (ROOT / "README.rst").read_text("utf-8")

    assert "\n    pip install flask-forge-jobs\n" in text
    assert all(target.startswith("https://") for target in LINK.findall(text))
    assert not re.search(r":[a-z]+:`", text), "a role that only Sphinx knows"
    assert not re.search(r"(?:image|include|figure)::", text)
    for part in ("Python 3.11", "SQLite 3.38", "PostgreSQL 12", "Windows"):
        assert part in text
    # The tests of the README run them.
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("::\n") + text.count(".. code-block:: python\n")
    assert all(block.strip() in readme for block in blocks)
    assert not re.search(r":[a-z]+:`", readme)


def test_import_on_windows_says_that_it_is_not_supported() -> None:
    command = "import sys; sys.platform = 'win32'; import flask_forge_jobs"

    done = run("-c", command)

    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: flask-forge-jobs does not run on Windows")
