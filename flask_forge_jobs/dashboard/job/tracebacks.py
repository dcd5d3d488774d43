"""Tracebacks: the frames of the application open, those of libraries folded.

The text of a traceback is foreign and may be cut at its beginning, so whatever is not
read as a frame stays as text, and nothing is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

# More is not kept of any traceback; a damaged row is not worth more.
MAX_TEXT = 20_000
# Names of libraries in the title of folded frames.
MAX_NAMES = 4
# Folders of a path that are shown; the whole path is its title.
_SHOWN_PARTS = 3
_FRAME = re.compile(
    r' {1,6}File "(?P<path>[^"]*)", line (?P<line>\d{1,9}), in (?P<name>.*)'
)
_HEAD = re.compile(r"(?:Exception Group )?Traceback \(most recent call last\):")
_BAR = re.compile(r" +[|+] ")
_CARETS = re.compile(r" *[~^]+[ ~^]*")
_REPEATED = re.compile(r" *\[Previous line repeated .*\]")
_LINKS = {
    "The above exception was the direct cause of the following exception:": (
        "Caused by"
    ),
    "During handling of the above exception, another exception occurred:": (
        "While handling"
    ),
}
_PACKAGES = re.compile(r".*[/\\](?:site|dist)-packages[/\\](?P<name>[^/\\]+)")
_STANDARD = re.compile(
    r"(?:.*[/\\]lib(?:64)?[/\\]python3[^/\\]*|.*[/\\]Python3[^/\\]*[/\\]Lib)[/\\]"
    r"(?P<name>[^/\\]+)",
    re.IGNORECASE,
)
_OURS = re.compile(r".*[/\\](?P<name>flask_forge_jobs)[/\\](?!demo)")
_MADE_UP = re.compile(r"<(?P<name>[^>]+)>")


@dataclass(slots=True)
class Frame:
    """One frame; ``library`` is None for the application's own."""

    path: str
    line: str
    name: str
    library: str | None
    code: list[str] = field(default_factory=list)

    @property
    def short_path(self) -> str:
        """The end of the path, without where its code is installed."""
        if self.library is not None:
            start = self.path.replace("\\", "/").rfind(f"/{self.library}")
            if start >= 0:
                return self.path[start + 1 :]
        return "/".join(re.split(r"[/\\]", self.path)[-_SHOWN_PARTS:])


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames in a row, either all of the application or all of libraries."""

    frames: Sequence[Frame]
    is_own: bool

    @property
    def libraries(self) -> str:
        """The names of the libraries, as they are called first."""
        names = list(dict.fromkeys(each.library or "" for each in self.frames))
        more = len(names) - MAX_NAMES
        shown = ", ".join(names[:MAX_NAMES])
        return f"{shown} and {more} more" if more > 0 else shown


@dataclass(slots=True)
class Part:
    """One exception of a traceback: its frames, then its text.

    ``link`` tells how it came to the next exception in the page: None for the one that
    ended the attempt. ``is_cut`` says that the first frames are missing.
    """

    frames: list[Frame] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    link: str | None = None
    is_cut: bool = False

    @property
    def message(self) -> str:
        """Type and text of the exception."""
        return "\n".join(self.text).strip("\n")

    @property
    def groups(self) -> Sequence[Frames]:
        """The frames in rows; the last one is own if no other is."""
        has_own = any(frame.library is None for frame in self.frames)
        last = len(self.frames) - 1
        marked = [
            (frame.library is None or (not has_own and index == last), frame)
            for index, frame in enumerate(self.frames)
        ]
        return [
            Frames([frame for _, frame in row], is_own)
            for is_own, row in groupby(marked, key=lambda each: each[0])
        ]


def parts_of(text: str) -> Sequence[Part]:
    """Return the exceptions of a traceback, that which ended the attempt first.

    A text that is no traceback is one part without frames.
    """
    parts = list(_parts(text[-MAX_TEXT:]))
    # Python prints a cause above its effect, and between them how they belong together.
    for cause, effect in pairwise(parts):
        cause.link, effect.link = effect.link or "Then", None
    parts.reverse()
    return parts


def _parts(text: str) -> Iterator[Part]:
    part, frame = Part(), None
    for raw in text.split("\n"):
        # The frames of an exception group stand behind a bar.
        line = raw if part.text else _BAR.sub("", raw)
        link = _LINKS.get(raw.strip(" |"))
        match = _FRAME.fullmatch(line)
        if link is not None:
            yield part
            part, frame = Part(link=link), None
        elif match is not None and not (part.frames and part.text):
            # Text before the first frame is the rest of a line that is cut.
            part.is_cut |= any(text.strip() for text in part.text)
            part.text.clear()
            frame = _frame(match)
            part.frames.append(frame)
        elif frame is not None and line.startswith("    "):
            if not _CARETS.fullmatch(line):
                frame.code.append(line[4:])
        elif frame is not None and _REPEATED.fullmatch(line):
            frame.code.append(line.strip())
        elif not _HEAD.fullmatch(line) or part.frames:
            frame = None
            part.text.append(line)
    yield part


def _frame(match: re.Match[str]) -> Frame:
    path = match["path"]
    return Frame(path, match["line"], match["name"], library_of(path))


def library_of(path: str) -> str | None:
    """Return the name of the library that a file belongs to.

    Files in ``site-packages``, of the standard library and of this package belong to
    one, and so does code without a file. Everything else is the application's own.
    """
    for pattern in (_PACKAGES, _OURS, _STANDARD, _MADE_UP):
        match = pattern.match(path)
        if match is not None:
            return match["name"].removesuffix(".py")
    return None
