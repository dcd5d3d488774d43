"""CI asks for a line of the changelog where a change of the package has none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / ".ci" / "changelog.py"
MODULE = "flask_forge_jobs/jobs.py"
CODE = '"""Jobs."""\n\nLIMIT = 1  # for now\n'
TOLD, MISSING, UNKNOWN = 0, 1, 2
# Within a hook, git's variables name the developer's own repository.
ENVIRON = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
pytestmark = pytest.mark.skipif(
    shutil.which("git") is None,
    reason="a source distribution may be tested without git",
)


class Checkout:
    """A small project with one commit on ``origin/main``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write(MODULE, CODE)
        self.write("CHANGES.rst", "Changes\n")
        self.write("tests/test_jobs.py", "")
        shutil.copy(SCRIPT, self.write(".ci/changelog.py", ""))
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("Begin")
        self.git("update-ref", "refs/remotes/origin/main", "HEAD")

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def git(self, *arguments: str) -> None:
        who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
        command = ["git", *who, *arguments]
        subprocess.run(command, cwd=self.folder, env=ENVIRON, check=True)

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", f"--message={message}")

    def check(self, *arguments: str) -> tuple[int, str]:
        script = self.folder / ".ci" / "changelog.py"
        done = subprocess.run(
            [sys.executable, "-B", script, *arguments], env=ENVIRON,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "project")


@pytest.mark.parametrize("is_committed", [True, False])
@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (MODULE, CODE.replace("1", "2"), MISSING),
        ("flask_forge_jobs/sql/claim.sql", "SELECT 1", MISSING),
        ("flask_forge_jobs/new.py", '"""New."""\n', MISSING),
        (MODULE, '"""All jobs."""\n\n# At the most.\nLIMIT = 1\n', TOLD),
        ("tests/test_jobs.py", "LIMIT = 2\n", TOLD),
        ("docs/index.rst", "Jobs\n", TOLD),
    ],
)
def test_change_of_the_package_needs_a_line(
    checkout: Checkout, name: str, text: str, expected: int, *, is_committed: bool
) -> None:
    checkout.write(name, text)
    if is_committed:
        checkout.commit("Change something")

    status, output = checkout.check()

    assert status == expected
    assert (name in output) is (expected == MISSING)


def test_a_line_is_enough_for_all_commits_of_a_branch(checkout: Checkout) -> None:
    checkout.write(MODULE, "LIMIT = 2\n")
    checkout.commit("Raise the limit")
    checkout.write("CHANGES.rst", "Changes\n\n-   The limit is 2.\n")
    checkout.commit("Tell of it")

    assert checkout.check()[0] == TOLD


def test_a_line_that_goes_is_no_line(checkout: Checkout) -> None:
    (checkout.folder / MODULE).unlink()
    checkout.write("CHANGES.rst", "")
    checkout.commit("Remove jobs")

    assert checkout.check()[0] == MISSING


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Rename the limit\n\nNobody sees it.\n\nChangelog: none", TOLD),
        ("Rename the limit\n\nChangelog: none of the above\n\nSee there.", MISSING),
    ],
)
def test_what_users_do_not_see_says_so(
    checkout: Checkout, message: str, expected: int
) -> None:
    checkout.write(MODULE, "MOST = 1\n")
    checkout.commit(message)

    assert checkout.check()[0] == expected


def test_what_others_have_landed_meanwhile_is_not_compared(checkout: Checkout) -> None:
    checkout.git("checkout", "--quiet", "-b", "theirs")
    checkout.write("CHANGES.rst", "Changes\n\n-   Their line.\n")
    checkout.commit("Tell of theirs")
    checkout.git("update-ref", "refs/remotes/origin/main", "HEAD")
    checkout.git("checkout", "--quiet", "main")
    checkout.write(MODULE, "LIMIT = 2\n")
    checkout.commit("Raise the limit")

    assert checkout.check()[0] == MISSING


def test_a_merge_is_compared_with_its_parent_as_ci_does(checkout: Checkout) -> None:
    checkout.git("checkout", "--quiet", "-b", "ours")
    checkout.write(MODULE, "LIMIT = 2\n")
    checkout.commit("Raise the limit")
    checkout.git("checkout", "--quiet", "main")
    checkout.write("CHANGES.rst", "Changes\n\n-   Their line.\n")
    checkout.commit("Tell of theirs")
    checkout.git("merge", "--quiet", "--no-ff", "--message=Merge", "ours")

    workflow = SCRIPT.parents[1] / ".github" / "workflows" / "ci.yml"
    (base,) = re.findall(
        r"run: python3 \.ci/changelog\.py (\S+)\n", workflow.read_text()
    )
    assert checkout.check(base)[0] == MISSING


def test_nothing_is_asked_where_nothing_can_be_compared(checkout: Checkout) -> None:
    """As in a shallow clone, whose commit may be of any age, or without git"""
    checkout.git("update-ref", "-d", "refs/remotes/origin/main")
    checkout.write(MODULE, "LIMIT = 2\n")

    assert checkout.check() == (TOLD, "changelog: nothing to compare with\n")
    shutil.rmtree(checkout.folder / ".git")
    assert checkout.check()[0] == TOLD


def test_a_base_that_is_named_must_be_there(checkout: Checkout) -> None:
    checkout.write(MODULE, "LIMIT = 2\n")
    checkout.commit("Raise the limit")

    assert checkout.check("HEAD~1")[0] == MISSING
    assert checkout.check("HEAD")[0] == TOLD
    status, output = checkout.check("0" * 40)
    assert status == UNKNOWN
    assert "fetch the history" in output
