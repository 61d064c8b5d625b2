"""`sweeps select` on a real small sweep."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from clmethods.cli import main as clmethods
from clmethods.config import run_from_dict
from sweeps.definition import expand, sweep_from_dict
from tests.sweeps.cli.conftest import DOCUMENT

Command = Callable[..., Result]


def test_a_card_and_a_file_that_is_a_run(
    sweeps_command: Command, finished: Path, tmp_path: Path
) -> None:
    file = tmp_path / "production.yaml"
    result = sweeps_command("select", finished, "--order", "4-3-2-1-0", "-o", file)
    assert result.exit_code == 0, result.output
    heads = [line.split()[0] for line in result.output.splitlines() if line[:1].strip()]
    assert heads[:2] == ["choose", "reason"]
    assert heads[-1] == "wrote"
    assert "test average_accuracy of one new run" in result.output
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    run = run_from_dict(document["run"])
    assert run.seed == 2
    assert run.stream.order == (4, 3, 2, 1, 0)
    known = {trial.config_id for trial in expand(sweep_from_dict(DOCUMENT))}
    assert run.config_id in known
    assert document["evidence"]["config_id"] == run.config_id
    trained = CliRunner().invoke(clmethods, ["train", str(file), "--json"])
    assert trained.exit_code == 0, trained.output
    found = json.loads(trained.stdout)[document["evidence"]["readout_id"]]
    for metric in document["evidence"]["prediction"]:
        assert found[metric] is not None  # the readout of the file was evaluated
    assert "prediction interval for one new run (test)" in trained.stderr
    model = tmp_path / "model"
    done = CliRunner().invoke(clmethods, ["train", str(file), "-o", str(model)])
    checked = [line for line in done.output.splitlines() if "the 95% prediction interval" in line]
    assert len(checked) == len(document["evidence"]["prediction"]) == 2
    for found_interval in document["evidence"]["prediction"].values():
        found_interval |= {"low": 2.0, "high": 3.0}
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    doctored = CliRunner().invoke(clmethods, ["train", str(file), "-o", str(model)])
    assert doctored.exit_code == 0
    assert doctored.stderr.count("is outside 200.0 to 300.0") == 2


def test_a_choice_that_was_made_before_is_not_overwritten(
    sweeps_command: Command, finished: Path, tmp_path: Path
) -> None:
    file = tmp_path / "production.yaml"
    assert sweeps_command("select", finished, "-o", file).exit_code == 0
    first = file.read_bytes()
    again = sweeps_command("select", finished, "-o", file)
    assert again.exit_code == 0, again.output  # the same choice is the same file
    assert again.output.splitlines()[-1].startswith(f"unchanged {file}")
    other = sweeps_command("select", finished, "--order", "4-3-2-1-0", "-o", file)
    assert other.exit_code == 2
    assert "--output" in other.output
    assert "a file that does not exist yet, or holds the same already" in other.output
    assert "wrote" not in other.output
    assert file.read_bytes() == first
    nowhere = sweeps_command("select", finished, "-o", tmp_path / "missing" / "production.yaml")
    assert nowhere.exit_code == 2
    assert "a path in an existing folder" in nowhere.output
    assert "choose" not in nowhere.output


def test_only_the_search_and_one_readout(sweeps_command: Command, finished: Path) -> None:
    result = sweeps_command("select", finished, "--searched", "--readout", "last", "--by", "mean")
    assert "choose    lorac_ipc" in result.output
    assert "2 configurations were compared" in result.output


def test_nothing_keeps_an_impossible_limit(
    sweeps_command: Command, finished: Path, tmp_path: Path
) -> None:
    file = tmp_path / "production.yaml"
    result = sweeps_command("select", finished, "--min", "average_accuracy=1.0", "-o", file)
    assert result.exit_code == 1
    assert "choose    nothing" in result.output
    assert not file.exists()


def test_a_limit_in_percent_equals_the_fraction(sweeps_command: Command, finished: Path) -> None:
    percent, fraction = (
        sweeps_command("select", finished, "--max", f"forgetting={bound}")
        for bound in ("80%", "0.8")
    )
    assert percent.exit_code == fraction.exit_code == 0, percent.output
    assert percent.output == fraction.output


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--max", "forgeting=0.1"], ["forgeting", "Did you mean 'forgetting'?"]),
        (["--prefer", "accuracy"], ["accuracy", "average_accuracy"]),
        (["--max", "forgetting"], ["--max", "METRIC=BOUND"]),
        (["--max", "forgetting=5"], ["--max forgetting: got '5'", "write 0.05 or 5%"]),
        (["--min", "average_accuracy=90"], ["--min average_accuracy", "write 0.9 or 90%"]),
        (["--max", "forgetting=low"], ["a fraction such as 0.05, or a percentage such as 5%"]),
        (["--max", "trainable_parameters=low"], ["a number, such as trainable_parameters=1000"]),
        (["--max", "average_accuracy=0.5"], ["Use --min"]),
        (["--knee", "--prefer", "forgetting"], ["either --knee or --prefer"]),
        (["--knee", "--within", "1"], ["either --knee or --within"]),
        (["--within", "-1"], ["--within"]),
        (
            ["--within", "1", "--prefer", "trainable_parameters"],
            ["--within", "a preferred metric in percent"],
        ),
        (["--readout", "lst"], ["--readout", "last"]),
        (["--choose-on", "seeds=7"], ["--choose-on seeds", "'7'"]),
        (["--choose-on", "seed=0"], ["--choose-on", "orders=… or seeds=…"]),
        (["--order", "0-1-2"], ["--order", "0 to 4"]),
    ],
)
def test_what_cannot_be_asked_is_refused(
    sweeps_command: Command, finished: Path, arguments: list[str], parts: list[str]
) -> None:
    result = sweeps_command("select", finished, *arguments)
    assert result.exit_code == 2, result.output
    assert all(part in result.output for part in parts), result.output


def test_chosen_here_and_reported_there(sweeps_command: Command, finished: Path) -> None:
    result = sweeps_command("select", finished, "--choose-on", "seeds=0")
    assert result.exit_code == 0
    assert "on the 2 held-out runs" in result.output
    assert "the held-out runs share orders with those of the selection" in result.output
    both = sweeps_command(
        "select", finished, "--choose-on", "seeds=0", "--choose-on", "orders=0-1-2-3-4"
    )
    assert both.exit_code == 0
    assert "on the 1 held-out run, 2 left out, validation" in both.output


def test_the_cheapest_within_a_margin(sweeps_command: Command, finished: Path) -> None:
    """All configurations are within 100 points; baselines without training are the cheapest."""
    best = sweeps_command("select", finished, "--searched", "--within", "0")
    assert best.exit_code == 0
    assert "cheapest" not in best.output
    cheap = sweeps_command("select", finished, "--searched", "--within", "100")
    assert cheap.exit_code == 0
    assert "points of the best average_accuracy" in cheap.output
    assert "of these it is the cheapest (" in cheap.output
    assert "trainable parameters" in cheap.output


def document_of(result: Result) -> dict:
    assert result.exit_code in (0, 1), result.output
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def test_the_json_holds_the_content_of_the_card(
    sweeps_command: Command, finished: Path, tmp_path: Path
) -> None:
    options = ("--max", "forgetting=90%", "--by", "mean")
    card = sweeps_command("select", finished, *options)
    file = tmp_path / "production.yaml"
    result = sweeps_command("select", finished, *options, "--json", "-o", file)
    found = document_of(result)
    lines = [line for entry in found["card"] for line in entry["lines"]]
    assert [line[10:] for line in card.stdout.splitlines()[: len(lines)]] == lines
    chosen = found["chosen"]
    evidence = yaml.safe_load(file.read_text(encoding="utf-8"))["evidence"]
    assert chosen["config_id"] == evidence["config_id"]
    for metric, expected in evidence["validation"].items():
        assert {name: chosen["validation"][metric][name] for name in expected} == expected
    for metric, expected in evidence["prediction"].items():
        assert chosen["prediction"][metric]["low"] == expected["low"]
    assert found["admissible"][0]["config_id"] == chosen["config_id"]
    assert found["admissible"][1] == found["runner_up"]
    assert len(found["admissible"]) + len(found["refused"]) == found["compared"]
    assert found["question"]["limits"] == [{"metric": "forgetting", "kind": "max", "bound": 0.9}]
    assert chosen["held_out"] is None
    (first, _) = found["differences"]
    means = [
        found[name]["validation"][first["metric"]]["mean"] for name in ("chosen", "runner_up")
    ]
    assert first["metric"] == "average_accuracy"
    if first["unpaired"] == 0:
        assert first["mean"] == pytest.approx(means[0] - means[1])
    assert "wrote" in result.stderr


def test_the_json_of_limits_that_nothing_satisfies_lists_what_they_refuse(
    sweeps_command: Command, finished: Path
) -> None:
    result = sweeps_command("select", finished, "--min", "average_accuracy=100%", "--json")
    found = document_of(result)
    assert result.exit_code == 1
    assert found["chosen"] is found["runner_up"] is None
    assert found["admissible"] == found["differences"] == []
    assert found["compared"] == len(found["refused"]) > 0
    for configuration in found["refused"]:
        assert [limit["metric"] for limit in configuration["violated"]] == ["average_accuracy"]
    assert found["without_limits"]["config_id"] in {one["config_id"] for one in found["refused"]}


def test_the_json_names_held_out_runs(sweeps_command: Command, finished: Path) -> None:
    found = document_of(sweeps_command("select", finished, "--choose-on", "seeds=0", "--json"))
    assert {run["seed"][0] for run in found["question"]["choose_on"]} == {0}
    held_out = found["chosen"]["held_out"]
    assert {run["seed"][0] for run in held_out["runs"]} == {1}
    assert held_out["validation"]["average_accuracy"]["runs"] == len(held_out["runs"])
