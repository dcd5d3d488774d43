"""HTML as a tree, for tests that look for elements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = frozenset(
    (
        "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta",
        "source", "track", "wbr",
    )
)  # fmt: skip


@dataclass(slots=True)
class Element:
    """An element, its attributes, and its texts and elements in order."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    parts: list[Element | str] = field(default_factory=list)

    def __getitem__(self, attribute: str) -> str:
        """Return an attribute; empty if it is missing."""
        return self.attributes.get(attribute, "")

    @property
    def text(self) -> str:
        """The text within, each run of white space as one space."""
        return " ".join("".join(self._texts()).split())

    def _texts(self) -> Iterator[str]:
        for part in self.parts:
            if isinstance(part, str):
                yield part
            else:
                yield from part._texts()

    def all(self, name: str) -> list[Element]:
        """Return the elements within of a name, or with an id: ``#list``."""
        return [each for each in self._within() if each._is(name)]

    def find(self, name: str) -> Element:
        """Return the first of :meth:`all`, which must exist."""
        for each in self._within():
            if each._is(name):
                return each
        raise AssertionError(f"there is no {name} in {self.text[:200]!r}")

    def _is(self, name: str) -> bool:
        return self["id"] == name[1:] if name.startswith("#") else self.name == name

    def _within(self) -> Iterator[Element]:
        for part in self.parts:
            if isinstance(part, Element):
                yield part
                yield from part._within()


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("")
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        # What is in a template is not on the page.
        if tag != "template":
            self._open[-1].parts.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].name == tag, f"</{tag}> closes <{self._open[-1].name}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].parts.append(data)


def parsed(html: str) -> Element:
    """Return a whole page or fragment; every element must be closed."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    assert builder._open == [builder.root], builder._open[-1].name
    return builder.root
