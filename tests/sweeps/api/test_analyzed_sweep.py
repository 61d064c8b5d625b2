"""Analyses of `sweeps.load` as data frames: their numbers are those of the commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import sweeps
from clmethods.config import InvalidConfigError, run_from_dict
from sweeps.api.order_frames import ORDER_PARTS
from sweeps.cli import main
from sweeps.presentation.text_tables import percent
from sweeps.storage import open_storage
from tests.sweeps.cli.conftest import DOCUMENT
from tests.sweeps.cli.fabricated import fabricate
from tests.sweeps.run_files import store_as_run

RANKS = {2: 0.0, 4: 0.04}
ORDERS = [[0, 1, 2, 3, 4], [1, 2, 3, 4, 0], [2, 3, 4, 0, 1], [3, 4, 0, 1, 2], [4, 0, 1, 2, 3]]
STUDY = {
    **DOCUMENT,
    "search": {"method.importance_threshold": [0, 0.2], "method.rank": [*RANKS]},
    "orders": {"design": "explicit", "list": ORDERS},
    "seeds": [0, 1, 2],
}


@pytest.fixture(scope="module")
def storage(tmp_path_factory) -> Path:
    """A finished sweep whose accuracies are known."""
    folder = tmp_path_factory.mktemp("storage")
    noise = np.random.default_rng(0)

    def accuracy(trial) -> float:
        method = trial.run.method
        base = 0.5 + RANKS.get(getattr(method, "rank", 0), 0.0)
        threshold = getattr(method, "importance_threshold", 0.0)
        return base + 0.3 * threshold + 0.01 * trial.run.seed + 0.01 * noise.random()

    fabricate(folder, STUDY, accuracy)
    return folder


@pytest.fixture(scope="module")
def loaded(storage) -> sweeps.LoadedSweeps:
    return sweeps.load(str(storage))


@pytest.fixture
def printed(storage) -> Callable[..., str]:
    """Text that a command prints about the sweep."""

    def run(command: str, *options: str) -> str:
        done = CliRunner().invoke(main, [command, str(storage), *options])
        assert done.exit_code == 0, done.output
        return done.output

    return run


def test_the_front_is_that_of_the_command(loaded, printed) -> None:
    front = loaded.front()
    text = printed("pareto")
    assert len(front) == 6
    assert front["role"].tolist()[-2:] == ["reference", "baseline"]
    assert front["on_front"].any()
    for row in front.to_dict("records"):
        for split in ("validation", "test"):
            name = f"{split}.average_accuracy"
            assert percent(row[name], row[f"{name}_low"], row[f"{name}_high"]) in text, row
    searched = front[front["role"] == "search"]
    assert searched["p_front"].between(0, 1).all()
    assert (
        searched["validation.average_accuracy_low"] < searched["validation.average_accuracy"]
    ).all()
    robust = loaded.front(iqm=True)["validation.average_accuracy"]
    assert percent(robust.iloc[0]) in printed("pareto", "--iqm")


def test_configurations_have_searched_fields_and_a_row_per_readout_and_split(
    loaded,
) -> None:
    frame = loaded.configurations()
    searched = frame[frame["role"] == "search"]
    assert len(searched) == 4 * 2 * 2
    assert set(searched["method.rank"]) == {2, 4}
    one = frame[(frame["readout_id"] == "last") & (frame["split"] == "validation")]
    merged = one.merge(loaded.front(), on="config_id")
    assert len(merged) == 6
    assert merged["average_accuracy"].equals(merged["validation.average_accuracy"])
    assert merged["average_accuracy_low"].equals(merged["validation.average_accuracy_low"])
    other = loaded.configurations(["learning_accuracy"], readout="last", split="test")
    assert len(other) == 6
    assert other["learning_accuracy"].dropna().between(0, 1).all()


def test_order_tables_are_those_of_the_command(loaded, printed) -> None:
    text = printed("orders", "--metric", "average_accuracy")
    disparity = loaded.orders()
    assert len(disparity) == 6
    for value in disparity["aopd"].dropna():
        assert percent(value) in text
    for row in loaded.orders("variance").to_dict("records"):
        assert row["reason"] != row["reason"]  # NaN: nothing is unknown
        assert f"{row['share']:.0%}" in text
        assert row["share_low"] <= row["share"] <= row["share_high"]
    for row in loaded.orders("extremes").to_dict("records"):
        assert row["best_order"] in text
        assert f"{100 * row['worst']:.1f}" in text
        assert row["worst"] < row["best"]
    position = loaded.orders("position")
    assert set(position["level"]) == {1, 2, 3, 4, 5}
    for row in position.to_dict("records"):
        half = (row["effect_high"] - row["effect_low"]) / 2
        assert f"± {100 * half:.1f}" in text
    preceding = loaded.orders("preceding")  # cyclic orders do not identify these effects
    assert preceding["effect"].isna().all()
    assert preceding["reason"].str.contains("a Williams design does").all()
    with pytest.raises(InvalidConfigError, match="of: got 'positions'"):
        loaded.orders("positions")
    assert {"label", "reason", "effect_low"} <= set(preceding.columns)
    assert all(len(loaded.orders(part)) for part in ORDER_PARTS)


def test_effects_are_those_of_the_command(loaded, printed) -> None:
    text = printed("effects")
    effects = loaded.effects()
    assert effects["metric"].unique().tolist() == ["average_accuracy", "forgetting"]
    rank = effects[(effects["axis"] == "method.rank") & (effects["metric"] == "average_accuracy")]
    assert rank["value"].tolist() == [4]
    assert rank["difference"].iloc[0] == pytest.approx(0.04, abs=0.005)
    assert rank["significant"].tolist() == [True]
    for row in effects.to_dict("records"):
        ends = f"{100 * row['difference_low']:+.1f} to {100 * row['difference_high']:+.1f}"
        assert ends in text
    reversed_rank = loaded.effects(["average_accuracy"], baselines={"method.rank": 4})
    other = reversed_rank[reversed_rank["axis"] == "method.rank"]
    assert other["difference"].iloc[0] == pytest.approx(-rank["difference"].iloc[0])
    pairs = loaded.interactions()
    assert len(pairs) == 2
    assert "Interactions" in text
    with pytest.raises(InvalidConfigError, match=r"baseline: got 'method.rnk'.*method.rank"):
        loaded.effects(baselines={"method.rnk": 4})


def test_the_choice_is_that_of_the_command(loaded, printed, tmp_path) -> None:
    file = tmp_path / "command.yaml"
    text = printed("select", "--max", "forgetting=5%", "-o", str(file))
    choice = loaded.select(max={"forgetting": 0.05})
    assert choice.card in text
    assert repr(choice) == choice.card
    table = choice.table()
    assert table["chosen"].tolist() == [True] + [False] * (len(table) - 1)
    assert table["label"].iloc[0] == choice.label
    assert (table["violated"] == "").all()
    written = tmp_path / "notebook.yaml"
    choice.write(written)
    assert written.read_bytes() == file.read_bytes()
    assert run_from_dict(choice.production()["run"]).config_id == choice.config_id
    with pytest.raises(FileExistsError):
        choice.write(written)
    assert loaded.select(max={"forgetting": "5%"}).card == choice.card
    by_means = loaded.select(by="mean", searched=True, readout="last", order=[4, 3, 2, 1, 0])
    options = ["--by", "mean", "--searched", "--readout", "last", "--order", "4-3-2-1-0"]
    assert by_means.card in printed("select", *options)
    on = loaded.select(choose_on={"seeds": [0, 1]})
    assert on.card in printed("select", "--choose-on", "seeds=0,1")


def test_a_selection_that_finds_nothing_says_why(loaded) -> None:
    nothing = loaded.select(min={"average_accuracy": 0.99})
    assert nothing.config_id is nothing.label is nothing.readout_id is None
    assert "no configuration satisfies average_accuracy >= 99" in repr(nothing)
    assert not nothing.table()["chosen"].any()
    assert (nothing.table()["violated"] != "").all()
    with pytest.raises(InvalidConfigError, match="has chosen a configuration"):
        nothing.production()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.front("lst"), r"^readout: got 'lst', allowed: one of \['last'"),
        (lambda s: s.orders(split="train"), "^split: got 'train', allowed: one of"),
        (lambda s: s.orders(metric="forgeting"), "^metric: got 'forgeting'.*'forgetting'"),
        (lambda s: s.configurations(["acc"]), "got 'acc', allowed: one of"),
        (lambda s: s.select(max={"forgetting": 5}), "^max forgetting: got '5'.* or 5%"),
        (lambda s: s.select(knee=True, prefer="forgetting"), "either knee or prefer"),
        (lambda s: s.select(choose_on={"seeds": [9]}), "^choose_on seeds: got '9'"),
        (lambda s: s.select(max={"average_accuracy": 0.5}), "Use min for this metric"),
    ],
)
def test_invalid_arguments_are_named_as_in_python(loaded, call, message) -> None:
    with pytest.raises(InvalidConfigError, match=message):
        call(loaded)


def test_a_repr_says_what_is_there(loaded) -> None:
    text = repr(loaded)
    assert "sweep 'small': 78 finished trials of 6 configurations" in text
    assert "readouts    last, batch-cosine-b4-tap-e1" in text
    assert "average_accuracy (max), forgetting (min)" in text
    assert "tables (rows): trials 78" in text
    for name in ("configurations", "front", "orders", "effects", "interactions", "select"):
        assert f".{name}()" in text


def test_with_several_sweeps_one_is_chosen_by_its_name(storage, tmp_path) -> None:
    for name in ("one", "two"):
        fabricate(tmp_path, {**DOCUMENT, "name": name}, lambda trial: 0.5)
    several = sweeps.load(str(tmp_path))
    assert list(several) == ["one", "two"]
    assert len(several) == 2
    assert len(several["two"].front()) == 4
    with pytest.raises(InvalidConfigError, match=r"loaded\[NAME\]"):
        several.front()
    with pytest.raises(InvalidConfigError, match="Did you mean 'two'"):
        several["tow"]
    later = {**DOCUMENT, "name": "one", "method": {"kind": "method_of_a_later_version"}}
    store_as_run(open_storage(str(tmp_path)), "one", later)
    left = sweeps.load(str(tmp_path))
    assert "sweep 'one': its file cannot be resolved" in repr(left)
    assert left.trials["sweep"].unique().to_pylist() == ["one", "two"]
    with pytest.raises(InvalidConfigError, match="method_of_a_later_version"):
        left["one"]


def test_without_pandas_one_sentence_says_what_to_install(loaded, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        loaded.front()
    assert loaded.summary.num_rows  # Arrow tables need no pandas
