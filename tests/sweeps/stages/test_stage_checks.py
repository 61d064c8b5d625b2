"""Objects of a stage that were stored under the name of another one are noticed when read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clmethods.checksummed_json import (
    LaterFormatError,
    add_checksum,
    add_owner,
    sha256,
    verify_checksum,
)
from clmethods.config import evaluation_id, partition_id
from sweeps.definition import TrialSpec, expand
from sweeps.planning.verification import verify_stage
from sweeps.results import read_table
from sweeps.search.search_state import Request
from sweeps.search.stored_observations import StoredObservations
from sweeps.stages.stage_store import StageStore, folder
from sweeps.storage.key_layout import evaluation_name
from tests.sweeps.stages.small import (
    directory_store,
    messages_of,
    metrics,
    run_trial,
    small_sweep,
    trained_keys,
)

SWEEP = small_sweep(search={"method.rank": [2, 3]})


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("original")
    for trial in expand(SWEEP):
        run_trial(trial, directory_store(root))
    return root


@pytest.fixture
def store(original: Path, tmp_path: Path) -> StageStore:
    """Two finished trials without tables, as if `sweeps/` had been deleted."""
    shutil.copytree(original / "stages", tmp_path / "stages")
    return directory_store(tmp_path)


def trials() -> tuple[TrialSpec, TrialSpec]:
    first, second = expand(SWEEP)
    return first, second


def readout_ids(trial: TrialSpec) -> list[str]:
    return [evaluation_id(readout, partition_id(trial.run)) for readout in trial.readouts]


def swap(store: StageStore, one: str, other: str) -> None:
    data = store.objects.get(one), store.objects.get(other)
    assert data[0] != data[1]
    store.objects.put(one, data[1])
    store.objects.put(other, data[0])


def rows_of(store: StageStore) -> list[dict[str, Any]]:
    """The rows of the table `evals`, written from the stages."""
    for trial in trials():
        run_trial(trial, store)
    return sorted(read_table(store.objects, "small", "evals").table.to_pylist(), key=str)


def to_old_format(store: StageStore) -> None:
    """Write the counts and costs of all stages as versions did that did not name the stage."""
    for name in [*store.objects.list("stages")]:
        if "/evals/" in name or name.endswith("cost.json"):
            document = verify_checksum(store.objects.get(name))
            assert document is not None
            if "/evals/" in name:
                store.objects.put(name, add_checksum(document["value"]))
            else:
                store.objects.put(name, repr(document["value"]).replace("'", '"').encode())


def test_swapped_evaluations_of_two_stages_do_not_change_a_number(
    store: StageStore, original: Path
) -> None:
    before = metrics(store.objects)
    expected = rows_of(directory_store(original))
    first, second = trials()
    identity = readout_ids(first)[0]
    keys = first.chain[2].key, second.chain[2].key  # the same task, other settings
    swap(store, *(evaluation_name(key, identity) for key in keys))
    assert rows_of(store) == expected
    assert metrics(store.objects) == before
    said = messages_of(store)
    assert len(said) == 2
    for message, key, other in zip(said, keys, reversed(keys), strict=True):
        assert message.startswith(f"evaluation {identity} of stage {key[:12]} is damaged")
        assert f"evaluated again (it belongs to stage {other[:12]})" in message


def test_swapped_readouts_of_one_stage_are_noticed(store: StageStore) -> None:
    trial, _ = trials()
    key, (one, other) = trial.chain[1].key, readout_ids(trial)
    swap(store, evaluation_name(key, one), evaluation_name(key, other))
    assert store.evaluation(key, one) is None
    (message,) = messages_of(store)
    assert f"it belongs under the name evals/{other}.json" in message


def test_a_search_does_not_use_the_counts_of_another_stage(store: StageStore) -> None:
    first, second = trials()
    look = StoredObservations(SWEEP, store.objects)
    assert look(Request(first, 3)) is not None
    identity = readout_ids(first)[0]
    swap(store, *(evaluation_name(t.chain[1].key, identity) for t in (first, second)))
    look = StoredObservations(SWEEP, store.objects)
    assert look(Request(first, 1)) is not None
    assert look(Request(first, 2)) is None


def test_a_marker_of_another_stage_is_noticed_even_with_a_new_checksum(store: StageStore) -> None:
    first, second = trials()
    keys = first.chain[1].key, second.chain[1].key
    other = verify_checksum(store.objects.get(f"{folder(keys[1])}/stage.json"))
    assert other is not None
    store.objects.put(f"{folder(keys[0])}/stage.json", add_checksum(other | {"key": keys[0]}))
    assert store.record(keys[0]) is None
    (message,) = messages_of(store)
    assert f"stage {keys[0][:12]} is damaged" in message


def test_an_edited_setting_of_a_marker_is_noticed(store: StageStore) -> None:
    key = trials()[0].chain[0].key
    marker = verify_checksum(store.objects.get(f"{folder(key)}/stage.json"))
    assert marker is not None
    marker["effect"]["train"]["lr"] = 0.004
    store.objects.put(f"{folder(key)}/stage.json", add_checksum(marker))
    assert store.marker(key) is None


@pytest.mark.parametrize("name", ["cost.json", "evaluation_cost.json"])
def test_the_cost_of_another_stage_is_unknown(store: StageStore, name: str) -> None:
    first, second = trials()
    read = store.cost if name == "cost.json" else store.evaluation_cost
    assert read(first.chain[2].key)["wall_s"]
    swap(store, *(f"{folder(trial.chain[2].key)}/{name}" for trial in (first, second)))
    assert read(first.chain[2].key) == {}


def test_objects_of_earlier_versions_are_read(store: StageStore, original: Path) -> None:
    expected = rows_of(directory_store(original))
    costs = {t.chain[0].key: store.cost(t.chain[0].key) for t in trials()}
    to_old_format(store)
    assert {key: store.cost(key) for key in costs} == costs
    reports = [report for trial in trials() for report in run_trial(trial, store)]
    assert trained_keys(reports) == []
    assert rows_of(store) == expected
    assert messages_of(store) == []


def earlier(trial: TrialSpec) -> tuple[str, str]:
    return trial.chain[1].key, trial.chain[2].key


def test_old_counts_of_another_position_are_noticed(store: StageStore, original: Path) -> None:
    """Counts of earlier versions do not name their stage, but the classes that it has learned."""
    expected = rows_of(directory_store(original))
    to_old_format(store)
    trial, _ = trials()
    identity = readout_ids(trial)[0]
    swap(store, *(evaluation_name(key, identity) for key in earlier(trial)))
    assert rows_of(store) == expected
    reasons = [message.rpartition("(")[2] for message in messages_of(store)]
    assert reasons == [
        "it does not have 2 learned tasks, as this stage has)",
        "it does not count the classes of this stage as learned)",
    ]


def test_exchanged_old_counts_of_the_same_tasks_are_found_by_verification(
    store: StageStore,
) -> None:
    """No check on reading finds them. The sealed state of the stage gives the counts again."""
    first, second = trials()
    keys, evaluations = (first.chain[2].key, second.chain[2].key), readout_ids(first)
    before = [store.evaluation(keys[0], name) for name in evaluations]
    to_old_format(store)
    assert verify_stage(store, first, 2).outcome == "equal"
    for name in evaluations:
        swap(store, *(evaluation_name(key, name) for key in keys))
    assert [store.evaluation(keys[0], name) for name in evaluations] != before
    verdict = verify_stage(store, first, 2)
    assert verdict.outcome == "differs"
    assert "counts of readout" in verdict.detail


@pytest.mark.parametrize("change", [list, lambda rows: rows[:1], lambda rows: [{"n": 1}]])
def test_old_counts_that_are_not_complete_are_noticed(
    store: StageStore, change: Callable[[list[Any]], list[Any]]
) -> None:
    to_old_format(store)
    trial, _ = trials()
    name = evaluation_name(trial.chain[1].key, readout_ids(trial)[0])
    rows = verify_checksum(store.objects.get(name))
    assert rows is not None
    changed = change(rows)
    store.objects.put(name, add_checksum(changed))
    intact = store.evaluation(trial.chain[1].key, readout_ids(trial)[0])
    assert intact == (rows if changed == rows else None)


def test_a_document_of_a_later_version_is_neither_used_nor_moved(store: StageStore) -> None:
    trial, _ = trials()
    key, identity = trial.chain[1].key, readout_ids(trial)[0]
    name = evaluation_name(key, identity)
    content = verify_checksum(add_owner([], key, f"evals/{identity}.json"))
    assert content is not None
    store.objects.put(name, add_checksum(content | {"format": 3}))
    with pytest.raises(LaterFormatError, match="has format 3, and this version reads formats"):
        store.evaluation(key, identity)
    assert store.objects.exists(name)


def test_a_result_is_named_by_its_content(store: StageStore) -> None:
    """The marker, which is checked against the key, contains the name."""
    key = trials()[0].chain[0].key
    marker = store.marker(key)
    assert marker is not None
    data = store.objects.get(f"{folder(key)}/{marker['result']}")
    assert marker["result"] == f"result-{sha256(data)}.json"
    other = trials()[1].chain[0].key
    swap(
        store,
        *(next(n for n in store.objects.list(folder(k)) if "/result-" in n) for k in (key, other)),
    )
    assert store.record(key) is None
    assert "result does not have its checksum" in messages_of(store)[0]
