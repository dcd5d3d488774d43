"""The icons: one file with all of them in a row, and a rule of the sheet for each."""

from __future__ import annotations

_SIZE = 16
_SHEET = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="16" '
    'viewBox="0 0 {0} 16" fill="none" stroke="#000" stroke-width="1.5" '
    'stroke-linecap="round" stroke-linejoin="round">{1}</svg>'
)


class Icons:
    """The icons of a text: a line has a name and a path, or ``=`` and another name.

    A path that begins with ``fill`` is an area, not a line.
    """

    def __init__(self, text: str) -> None:
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        self._paths: list[str] = []
        self._places: dict[str, int] = {}
        for line in lines:
            name, _, rest = line.partition(" ")
            if rest.startswith("= "):
                self._places[name] = self._places[rest[2:]]
                continue
            self._places[name] = len(self._paths)
            self._paths.append(rest)

    @property
    def sheet(self) -> bytes:
        """The file with all icons."""
        paths = [_path(path, number * _SIZE) for number, path in enumerate(self._paths)]
        return _SHEET.format(len(paths) * _SIZE, "".join(paths)).encode()

    def placed(self, style_sheet: str, address: str) -> str:
        """Return a style sheet with its marks, such as ``@icons``, filled in."""
        count = len(self._paths)
        rules = [f".i-{name}{{--i:{place}}}" for name, place in self._places.items()]
        for mark, text in (
            ("@sheet", f'url("{address}")'),
            ("@count", f"{count}00%"),
            ("@last", str(count - 1)),
            ("@icons", "\n".join(rules)),
        ):
            style_sheet = style_sheet.replace(mark, text)
        return style_sheet


def _path(path: str, left: int) -> str:
    area = ""
    if path.startswith("fill "):
        path, area = path.removeprefix("fill "), ' fill="#000" stroke="none"'
    return f'<path transform="translate({left})" d="{path}"{area}/>'
