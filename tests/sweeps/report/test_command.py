"""`sweeps report`: where the page goes, and the figures for papers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

from sweeps.cli.locate import open_stored_sweep
from sweeps.cli.running import report_line
from sweeps.report.figures import DRAWN, FORMATS

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


def test_figures_for_papers(sweeps_command: Command, finished: Path, tmp_path: Path) -> None:
    target = tmp_path / "figures"
    result = sweeps_command("report", finished, "-o", tmp_path / "page.html", "--figures", target)
    assert result.exit_code == 0, result.output
    assert {path.name for path in target.iterdir()} == {
        f"{name}.{kind}" for name in DRAWN for kind in FORMATS
    }
    for name in DRAWN:
        with Image.open(target / f"{name}.png") as image:
            assert len(image.convert("L").getcolors(2**16) or []) > 10, name  # not an empty sheet
    assert "average accuracy" in (target / "front.svg").read_text(encoding="utf-8")


def test_equal_tables_make_equal_figures(
    sweeps_command: Command, finished: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        sweeps_command("report", finished, "-o", tmp_path / "p.html", "--figures", tmp_path / name)
    for one in sorted((tmp_path / "one").iterdir()):
        assert one.read_bytes() == (tmp_path / "two" / one.name).read_bytes(), one.name


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
