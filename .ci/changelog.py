"""Ask whether a change of the package comes with a line in CHANGES.rst.

``python3 .ci/changelog.py`` compares the files as they are with the last commit that
``origin/main`` and this branch share; an argument names another commit. Where there is
nothing to compare with, as in a fresh clone of ``main``, nothing is asked; but a commit
that was named must be there. Comments and docstrings need no line. A change that users
do not see says so in one of its commits, by a last line ``Changelog: none``.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, CHANGELOG = "flask_forge_jobs", "CHANGES.rst"
UPSTREAM = "origin/main"
NEEDS_A_LINE, UNKNOWN_BASE = 1, 2


def main() -> int:
    """Return the exit status: 1 for a line that is missing, 2 for an unknown base."""
    named = sys.argv[1] if len(sys.argv) > 1 else ""
    base = _git("merge-base", "HEAD", named or UPSTREAM)
    if base is None:
        if not named:
            return _end("changelog: nothing to compare with", 0)
        text = (
            f"changelog: {named} has no commit in common with HEAD; fetch the history"
        )
        return _end(text, UNKNOWN_BASE)
    changed = [path for path in _changed(base, PACKAGE) if _differs(base, path)]
    if not changed or _added_lines(base) or _is_internal(base):
        return _end(f"changelog: complete since {base[:8]}", 0)
    return _end(
        f"changelog: these files changed since {base[:8]}:\n  "
        + "\n  ".join(changed)
        + f"\nadd a line for users to {CHANGELOG}; if they see nothing of it, end the "
        "message of a commit with `Changelog: none`",
        NEEDS_A_LINE,
    )


def _git(*arguments: str) -> str | None:
    """Return what git prints, or None if it fails."""
    command = ["git", "-c", f"safe.directory={ROOT}", *arguments]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    except FileNotFoundError:  # no git
        return None
    return done.stdout.decode().strip() if done.returncode == 0 else None


def _changed(base: str, folder: str) -> list[str]:
    changed = _git("diff", "--name-only", "--no-renames", "-z", base, "--", folder)
    added = _git("ls-files", "--others", "--exclude-standard", "-z", "--", folder)
    return sorted({name for name in f"{changed}\0{added}".split("\0") if name})


def _differs(base: str, path: str) -> bool:
    """Return whether more of a file has changed than comments and docstrings."""
    before, now = _git("show", f"{base}:{path}"), ROOT / path
    if before is None or not now.is_file() or not path.endswith(".py"):
        return True
    return _code(before) != _code(now.read_text("utf-8"))


def _code(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ):
            node.body = [each for each in node.body if not _is_text(each)]
    return ast.dump(tree)


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _added_lines(base: str) -> bool:
    counts = _git("diff", "--numstat", base, "--", CHANGELOG) or "0"
    return counts.split()[0] != "0"


def _is_internal(base: str) -> bool:
    trailers = "--format=%(trailers:key=Changelog,valueonly)"
    return "none" in (_git("log", trailers, f"{base}..HEAD") or "").lower().split()


def _end(text: str, status: int) -> int:
    stream = sys.stderr if status else sys.stdout
    stream.write(f"{text}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
