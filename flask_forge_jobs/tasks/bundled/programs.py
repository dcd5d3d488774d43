"""Allow-list of programs: which files jobs may run, and with which arguments.

A program that runs others, or writes files, as its arguments say is a shell for anybody
who may enqueue. The best known are refused while their patterns let such arguments
through. No list is complete, so a program without patterns gets no arguments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from types import EllipsisType

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import shown

Patterns = Sequence[str | re.Pattern[str] | EllipsisType]
Programs = Mapping[str | Path, Patterns] | Iterable[str | Path]

# Without arguments these run commands from their standard input.
_INTERPRETERS = frozenset({
    "ash", "bash", "busybox", "csh", "dash", "ed", "ex", "fish", "ksh", "lua", "mysql",
    "node", "parallel", "perl", "php", "psql", "pypy", "python", "ruby", "sh", "sqlite",
    "tclsh", "tcsh", "zsh",
})  # fmt: skip
_RUN_OR_WRITE = _INTERPRETERS | frozenset({
    "awk", "chmod", "chown", "chroot", "cp", "crontab", "curl", "dd", "doas", "docker",
    "env", "find", "flock", "gawk", "gcc", "gdb", "git", "go", "install", "java",
    "less", "ln", "make", "man", "mawk", "more", "mv", "nano", "nawk", "nice", "nohup",
    "npm", "npx", "openssl", "pip", "podman", "rsync", "scp", "screen", "sed", "setsid",
    "sftp", "socat", "sort", "split", "ssh", "stdbuf", "strace", "su", "sudo",
    "systemctl", "systemd-run", "tar", "tee", "time", "timeout", "tmux", "uv", "vi",
    "vim", "watch", "wget", "xargs", "zip",
})  # fmt: skip
_VERSION = re.compile(r"[-.\d]+\Z")
# A program as an argument: its name, its path, the value of an option.
_PROBES = ("sh", "/bin/sh", "--run=/bin/sh")


class AllowedPrograms:
    """The programs that jobs may run, by path and by file name.

    Args:
        programs: Absolute paths, each with the patterns of its arguments; without
            patterns a program gets no arguments.

    Raises:
        InvalidInputError: There is no program, a path or pattern is wrong, two programs
            have the same name, or one that is known to run others gets free arguments.
    """

    def __init__(self, programs: Programs) -> None:
        self._paths: dict[str, str] = {}
        self._arguments: dict[str, _Arguments] = {}
        for path, patterns in _pairs(programs):
            name = Path(path).name
            if not Path(path).is_absolute():
                raise _wrong(f"{shown(path)} is not an absolute path")
            if self._paths.setdefault(name, path) != path:
                raise _wrong(f"two programs are named {shown(name)}")
            self._paths[path] = path
            self._arguments[path] = _arguments_of(path, patterns)
            _check_danger(path, self._arguments[path])
        if not self._paths:
            raise _wrong("name at least one")

    def path_of(self, argv: Sequence[str]) -> str:
        """Return the file to run for a program, by name or path, and its arguments.

        Raises:
            InvalidInputError: The program or one of its arguments is not allowed.
        """
        path = self._paths.get(argv[0])
        if path is None:
            raise InvalidInputError("argv", f"{shown(argv[0])} is not allowed")
        self._arguments[path].check(argv)
        return path


@dataclass(frozen=True, slots=True)
class _Arguments:
    """Patterns of a program's arguments; the last one may fit any number of them."""

    patterns: Sequence[re.Pattern[str]]
    is_open: bool

    @property
    def min_count(self) -> int:
        return len(self.patterns) - self.is_open

    def check(self, argv: Sequence[str]) -> None:
        """Raise InvalidInputError unless each argument fits its pattern."""
        count = len(argv) - 1
        if count < self.min_count or (count > self.min_count and not self.is_open):
            takes = f"{'at least ' if self.is_open else ''}{self.min_count}"
            raise InvalidInputError(
                "argv", f"{shown(argv[0])} takes {takes} arguments here, not {count}"
            )
        patterns = chain(self.patterns, repeat(self.patterns[-1])) if count else ()
        for number, (pattern, text) in enumerate(
            zip(patterns, argv[1:], strict=False), 1
        ):
            if not pattern.fullmatch(text):
                raise InvalidInputError(
                    "argv", f"argument {number} of {shown(argv[0])} is not allowed"
                )


def _wrong(message: str) -> InvalidInputError:
    return InvalidInputError("programs", message)


def _pairs(programs: Programs) -> Iterator[tuple[str, Patterns]]:
    if isinstance(programs, str):
        raise _wrong("must be a list or a dict of programs")
    if isinstance(programs, Mapping):
        for path, patterns in programs.items():
            yield str(path), patterns
    else:
        for path in programs:
            yield str(path), ()


def _arguments_of(path: str, patterns: Patterns) -> _Arguments:
    if isinstance(patterns, str) or not isinstance(patterns, Sequence):
        raise _wrong(f"{shown(path)} needs a list of patterns, one for each argument")
    is_open = len(patterns) > 1 and patterns[-1] is ...
    compiled: list[re.Pattern[str]] = []
    for pattern in patterns[:-1] if is_open else patterns:
        try:
            # re refuses texts that are no pattern.
            compiled.append(re.compile(pattern))  # type: ignore[arg-type]
            compiled[-1].fullmatch("")  # one of bytes would raise here
        except (TypeError, re.error) as error:
            why = f"{shown(pattern)} is no pattern of text"
            raise _wrong(f"{shown(path)}: {why}") from error
    return _Arguments(compiled, is_open)


def _check_danger(path: str, arguments: _Arguments) -> None:
    """Refuse a well-known program whose arguments may be programs or any option."""
    names = {_VERSION.sub("", each) for each in (Path(path).name, _target_name(path))}
    are_free = any(
        pattern.fullmatch(probe) for pattern in arguments.patterns for probe in _PROBES
    )
    runs_input = bool(names & _INTERPRETERS) and not arguments.min_count
    if runs_input or (are_free and names & _RUN_OR_WRITE):
        raise _wrong(
            f"{shown(path)} runs programs or writes files as its arguments say; narrow "
            "their patterns, or name a script of your own with fixed arguments"
        )


def _target_name(path: str) -> str:
    """Return the name of the file behind links, such as mawk behind awk."""
    return Path(path).resolve().name
