"""Sweeps whose orders follow from the data: measured once, kept with the sweep."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from clmethods.config import InvalidConfigError
from clmethods.config.task_table import TaskTable, table_id
from clmethods.data.task_tables import keep_table
from sweeps.definition import Sweep, expand, measured_sweep, sweep_from_dict
from sweeps.definition.orders import CHAINS, Precedence
from sweeps.definition.orders import task_similarity_measurement as measuring
from tests.sweeps.definition.orders.tables import table_of

DOCUMENT: dict[str, Any] = {
    "name": "by-data",
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"dataset": "digits", "tasks": 5, "limit": 6},
    "method": {"kind": "lora_sequential", "rank": 2},
    "orders": {"design": "curricula"},
    "baselines": [{"backbone": {"image_size": 16}}, {"method": {"kind": "joint_lora"}}],
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("CLMETHODS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def built(**fields: Any) -> Sweep:
    return measured_sweep(sweep_from_dict({**DOCUMENT, **fields}))


def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "COMMAND", ("no-such-command",))


def test_a_table_is_measured_once_and_then_found(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the real process; the tables are also in the document, which needs no cache any more."""
    sweep = built()
    (table,) = sweep.orders.measured
    desired = tuple(dict.fromkeys(CHAINS[c](table, Precedence.of(5), ()) for c in CHAINS))
    first, second, joint = (sweep.orders_for(c.run) for c in sweep.configurations)
    assert first == second == desired  # the backbone of the base decides for all
    assert joint == ((0, 1, 2, 3, 4),)
    no_process(monkeypatch)
    assert expand(built()) == expand(sweep)
    for file in cache.iterdir():
        file.unlink()
    again = sweep_from_dict(sweep.document)
    assert expand(again) == expand(sweep)
    assert measured_sweep(again) is again
    assert again.document == sweep.document
    with pytest.raises(FileNotFoundError):
        built()


def test_loading_a_sweep_measures_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a process is started nor the cache used; the orders are refused until measured."""

    def forbidden(*arguments: object, **options: object) -> None:
        raise AssertionError(f"loading started a process: {arguments}")

    for module, name in ((subprocess, "Popen"), (os, "fork"), (os, "posix_spawn")):
        monkeypatch.setattr(module, name, forbidden)
    monkeypatch.setattr(measuring, "kept_table", forbidden)
    sweep = sweep_from_dict(DOCUMENT)
    assert not cache.exists()
    assert len(sweep.unmeasured) == 1  # the streams of all configurations are equal
    assert sweep.orders.measured == ()
    assert "measured" not in sweep.document["orders"]
    with pytest.raises(
        InvalidConfigError, match=r"orders\.design: got 'curricula', .* `sweeps run`"
    ):
        expand(sweep)
    monkeypatch.undo()
    monkeypatch.setenv("CLMETHODS_CACHE", str(cache))
    assert not measured_sweep(sweep).unmeasured


def test_missing_data_is_refused_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "import sys; sys.stderr.write('cifar100: the files are needed\\n'); sys.exit(1)"
    monkeypatch.setattr(measuring, "COMMAND", (measuring.COMMAND[0], "-c", script))
    with pytest.raises(InvalidConfigError) as refused:
        built(orders={"design": "far_first"})
    assert str(refused.value) == (
        "orders.design: got 'far_first', allowed: a design whose training images and backbone "
        "weights are available. cifar100: the files are needed"
    )


def test_every_grouping_of_the_classes_has_a_table_and_orders_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Class order and task order stay apart: two columns, neither in the other's id."""
    no_process(monkeypatch)
    axis = {"stream.class_order_seed": [None, 1, 2]}
    plain = built(orders={"design": "random", "count": 2}, search=axis, baselines=[])
    tables: list[TaskTable] = []
    for seed, configuration in enumerate(plain.configurations):
        made_up = table_of(5, seed)
        identity = table_id(plain.base.backbone, configuration.run.stream)
        tables.append(
            TaskTable(
                of=identity,
                distance=made_up.distance,
                error=made_up.error,
                ambiguity=made_up.ambiguity,
            )
        )
        keep_table(tables[-1])
    sweep = built(orders={"design": "near_first"}, search=axis, baselines=[])
    assert sweep.orders.measured == tuple(tables)
    for configuration, table in zip(sweep.configurations, tables, strict=True):
        (order,) = sweep.orders_for(configuration.run)
        assert order == CHAINS["near_first"](table, Precedence.of(5), ())


def test_a_table_is_not_asked_for_where_no_design_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    no_process(monkeypatch)
    sweep = built(orders={"design": "random", "count": 2, "before": [[3, 1]]})
    assert sweep.orders.measured == ()
    assert all(o.index(3) < o.index(1) for o in sweep.orders_for(sweep.base))


def test_domains_are_called_by_their_names() -> None:
    """The tasks of a stream of domains have names; constraints may use them."""
    named = {"design": "all", "fixed": ["rotated"], "before": [["noisy", "plain"]]}
    sweep = built(stream={"dataset": "digits-dil", "limit": 3}, orders=named)
    assert sweep.orders_for(sweep.base) == ((2, 1, 3, 0), (2, 3, 0, 1), (2, 3, 1, 0))
    with pytest.raises(InvalidConfigError) as refused:
        built(stream={"dataset": "digits-dil"}, orders={"fixed": ["rotatd"]})
    assert "one of ['plain', 'inverted', 'rotated', 'noisy']. Did you mean 'rotated'?" in str(
        refused.value
    )
