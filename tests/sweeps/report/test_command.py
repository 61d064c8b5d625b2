"""`sweeps report`: where the page goes, and the figures for papers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from sweeps.cli import main
from sweeps.cli.commands.run import report_line
from sweeps.cli.locate import open_stored_sweep
from sweeps.report import read_report_inputs
from sweeps.report.paper_figures import DRAWN, FORMATS, write_figures

Command = Callable[..., Result]


def test_the_page_goes_beside_the_results(
    sweeps_command: Command, finished: Path, tmp_path: Path
) -> None:
    storage = shutil.copytree(finished, tmp_path / "copy")
    result = sweeps_command("report", storage)
    assert result.exit_code == 0, result.output
    page = storage / "sweeps/small/report.html"
    assert str(page) in result.output
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert page.stat().st_size < 3e6


@pytest.fixture(scope="module")
def drawn(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The figures that the command draws."""
    target = tmp_path_factory.mktemp("figures")
    page = target.parent / "page.html"
    result = CliRunner().invoke(
        main, ["report", str(finished), "-o", str(page), "--figures", str(target)]
    )
    assert result.exit_code == 0, result.output
    return target


def test_figures_for_papers(drawn: Path) -> None:
    assert {path.name for path in drawn.iterdir()} == {
        f"{name}.{kind}" for name in DRAWN for kind in FORMATS
    }
    for name in DRAWN:
        with Image.open(drawn / f"{name}.png") as image:
            assert len(image.convert("L").getcolors(2**16) or []) > 10, name  # not an empty sheet
    assert "average accuracy" in (drawn / "front.svg").read_text(encoding="utf-8")


def test_equal_tables_make_equal_figures(drawn: Path, finished: Path, tmp_path: Path) -> None:
    stored = open_stored_sweep(str(finished))
    for path in write_figures(read_report_inputs(stored.sweep, stored.objects), tmp_path):
        assert path.read_bytes() == (drawn / path.name).read_bytes(), path.name


@pytest.mark.parametrize("arguments", [["--readout", "nonsense"]])
def test_a_readout_that_is_not_there_is_a_users_mistake(
    sweeps_command: Command, finished: Path, arguments: list[str]
) -> None:
    result = sweeps_command("report", finished, *arguments)
    assert result.exit_code == 2
    assert "--readout" in result.output


def test_a_page_that_cannot_be_written_fails_no_run(finished: Path, tmp_path: Path) -> None:
    storage = shutil.copytree(finished, tmp_path / "copy")
    (storage / "sweeps/small/report.html/in the way").mkdir(parents=True)
    stored = open_stored_sweep(str(storage))
    said = report_line(stored.sweep, stored.objects, str(storage))
    assert said.startswith("not written")
    assert "`sweeps report` tries again" in said
