"""Icons: one file, and a rule for each."""

from __future__ import annotations

from flask_forge_jobs.dashboard.assets import assets
from flask_forge_jobs.dashboard.health import Tone
from flask_forge_jobs.dashboard.icons import Icons

TEXT = "# comment\nline M2 2h9\narea fill M0 0h16v16H0z\nsame = line\n"


def test_the_file_has_each_path_once_side_by_side() -> None:
    sheet = Icons(TEXT).sheet.decode()

    assert 'width="32"' in sheet
    assert '<path transform="translate(0)" d="M2 2h9"/>' in sheet
    assert '<path transform="translate(16)" d="M0 0h16v16H0z" fill="#000"' in sheet
    assert sheet.count("<path") == 2


def test_the_style_sheet_gets_places_and_address() -> None:
    marks = "@sheet @last @count\n@icons"

    assert Icons(TEXT).placed(marks, "icons.svg?v=1") == (
        'url("icons.svg?v=1") 1 200%\n.i-line{--i:0}\n.i-area{--i:1}\n.i-same{--i:0}'
    )


def test_each_state_of_health_has_an_icon() -> None:
    sheet = assets()["dashboard.css"].body.decode()

    assert [tone for tone in Tone if f".i-{tone}{{" not in sheet] == []
