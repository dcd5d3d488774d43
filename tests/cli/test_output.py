from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from flask_forge_jobs.cli.output import confirm, options, print_json_lines, yes_option


@click.command()
@options(yes_option, click.option("--last", is_flag=True))
def asks(*, is_sure: bool, last: bool) -> None:
    confirm("3 jobs will be deleted; go on?", is_sure=is_sure)
    print_json_lines([{"b": 1, "a": "ü"}, {"last": last}])


def test_an_answer_decides() -> None:
    runner = CliRunner()

    agreed = runner.invoke(asks, ["--last"], input="y\n")
    refused = runner.invoke(asks, input="n\n")
    silent = runner.invoke(asks)
    sure = runner.invoke(asks, ["--yes"])

    assert agreed.stdout == '{"b":1,"a":"ü"}\n{"last":true}\n'
    assert "3 jobs will be deleted; go on? [y/N]" in agreed.stderr
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert (silent.exit_code, silent.stdout) == (2, "")
    assert "add --yes" in silent.stderr
    assert (sure.exit_code, sure.stderr) == (0, "")


def test_ctrl_c_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_text: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("click.termui.visible_prompt_func", interrupted)

    with pytest.raises(click.Abort):
        confirm("3 jobs will be deleted; go on?", is_sure=False)


def test_options_stand_in_their_order() -> None:
    names = [each.name for each in asks.params]

    assert names == ["is_sure", "last"]
