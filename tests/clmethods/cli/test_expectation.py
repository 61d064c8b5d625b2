"""A production file's prediction, against the run that it describes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from clmethods.cli import main
from clmethods.cli.expectation import Expected, expectation, verdict, verdict_text
from clmethods.config import InvalidConfigError, RunConfig, run_from_dict
from clmethods.config.run import run_to_dict

RUN = {
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"dataset": "digits", "tasks": 2, "limit": 4},
    "method": {"kind": "nearest_class_mean"},
    "seed": 7,
}


def predicted(**ends: object) -> dict[str, object]:
    return {"evidence": {"prediction": {"average_accuracy": ends}, "seeds_used": [0, 1]}}


def test_the_ends_belong_to_the_interval() -> None:
    one = Expected("average_accuracy", "test", 0.95, 0.5, 0.6)
    assert [verdict(one, v) for v in (0.5, 0.6, 0.4999, 0.6001)] == [
        *("inside", "inside"),
        *("outside", "outside"),
    ]
    assert verdict(one, None) == verdict(one, float("nan")) == "unknown"
    assert verdict_text(one, 0.55) == (
        "average_accuracy: 55.0 is inside 50.0 to 60.0, the 95% prediction interval for one new "
        "run (test)"
    )
    assert "this run has no value" in verdict_text(one, None)
    size = Expected("trainable_parameters", "test", 0.95, 1000.0, 2000.0)
    assert "1,500 is inside 1,000 to 2,000" in verdict_text(size, 1500)


def test_a_prediction_is_void_for_another_run() -> None:
    run = RunConfig(seed=7)
    chosen = {"prediction": {"average_accuracy": {"low": 0.1, "high": 0.2}}}
    mine = {"config_id": run.config_id, "order": "-".join(map(str, run.stream.order))}

    def void(run: RunConfig = run, refit: bool = False, **changes: object) -> str | None:
        found = expectation({"evidence": chosen | mine | changes}, run, refit)
        assert found is not None
        return found.void

    assert void() is None
    assert "validation images" in str(void(refit=True))
    assert "not the configuration" in str(void(config_id="another"))
    assert "order 1-0" in str(void(order="1-0"))
    assert "seed 7" in str(void(seeds_used=[7]))
    assert void(replace(run, seed=8), seeds_used=[7]) is None
    assert expectation({"run": {}}, run, False) is None


@pytest.mark.parametrize(
    ("evidence", "part"),
    [
        (predicted(low=0.1), "evidence.prediction.average_accuracy.high: got None"),
        (predicted(low="x", high=1.0), "evidence.prediction.average_accuracy.low: got 'x'"),
        (predicted(low=0.3, high=0.2), "`low` not above `high`"),
        ({"evidence": {"prediction": [1]}}, "evidence.prediction: got [1]"),
        ({"evidence": {"prediction": {"bwt": 1}}}, "evidence.prediction.bwt: got 1"),
    ],
)
def test_a_prediction_that_is_no_interval_is_refused(evidence: dict, part: str) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        expectation(evidence, RunConfig(), False)
    assert part in str(caught.value)


def train(folder: Path, *options: str, **ends: object) -> tuple[str, str]:
    file = folder / "production.yaml"
    document = {"run": run_to_dict(run_from_dict(RUN)), "readout": {"routing": "last"}}
    file.write_text(yaml.safe_dump(document | predicted(**ends)), encoding="utf-8")
    result = CliRunner().invoke(main, ["train", str(file), *options])
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_a_result_inside_is_reported_and_one_outside_is_a_warning(tmp_path: Path) -> None:
    """The exit code is 0 either way: one run in twenty falls outside by chance."""
    out, err = train(tmp_path, low=0.0, high=1.0)
    assert "is inside 0.0 to 100.0, the 95% prediction interval" in out
    assert "warning" not in err
    out, err = train(tmp_path, low=0.998, high=0.999)
    assert "is outside" not in out
    assert "warning: average_accuracy: " in err
    assert "is outside 99.8 to 99.9" in err


def test_training_on_all_images_voids_the_prediction(tmp_path: Path) -> None:
    out, err = train(tmp_path, "--refit-all-data", "--json", low=0.0, high=1.0)
    assert "not checked against the prediction" in err
    assert "prediction" not in out
