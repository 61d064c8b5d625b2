"""The stage store: the same bits back, nothing changed once it is there, damage noticed."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from clmethods.checksummed_json import add_checksum, verify_checksum
from clmethods.config import evaluation_id, partition_id
from clmethods.evaluate import EvalCount
from clmethods.methods import MethodReport
from clmethods.training.stage import DivergedError, StageOutcome, TrainingReport
from sweeps.definition import TrialSpec
from sweeps.results import read_table
from sweeps.stages.stage_store import StageStore, folder
from tests.clmethods.runs import differences, train
from tests.sweeps.stages.small import (
    directory_store,
    messages_of,
    metrics,
    payloads,
    run_trial,
    small_trial,
    trained_keys,
)


@dataclass(frozen=True)
class Finished:
    """A finished trial in a directory of its own, which a test may spoil."""

    trial: TrialSpec
    store: StageStore
    root: Path

    @property
    def keys(self) -> list[str]:
        return [stage.key for stage in self.trial.chain]

    def file(self, position: int, start: str) -> Path:
        """The file of a stage whose name starts with `start`."""
        (found,) = (self.root / folder(self.keys[position])).glob(f"**/{start}*")
        return found


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("original")
    run_trial(small_trial(), directory_store(root))
    return root


@pytest.fixture
def finished(original: Path, tmp_path: Path) -> Finished:
    shutil.copytree(original, tmp_path / "copy")
    return Finished(small_trial(), directory_store(tmp_path / "copy"), tmp_path / "copy")


def outcome_of(*values: float) -> StageOutcome:
    return StageOutcome(
        delta={"a": torch.tensor(values)},
        training=TrainingReport(steps=1),
        method=MethodReport(trainable_parameters=len(values)),
    )


def test_the_bits_of_a_trained_stage_come_back(finished: Finished) -> None:
    for stage, outcome in zip(
        finished.trial.chain, train(finished.trial.run).outcomes, strict=True
    ):
        delta = finished.store.load_delta(stage.key)
        assert delta is not None
        assert differences(delta, outcome.delta) == []
        record = finished.store.record(stage.key)
        assert record is not None
        assert record.result["training"]["cross_entropy"] == outcome.training.cross_entropy


def test_special_values_come_back_bit_for_bit(tmp_path: Path) -> None:
    store, stage = directory_store(tmp_path), small_trial().chain[0]
    delta = {
        "odd": torch.tensor([float("nan"), -0.0, 5e-324, float("inf")], dtype=torch.float64),
        "flags": torch.tensor([True, False]),
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 4),
    }
    report = MethodReport(trainable_parameters=0)
    store.save(stage, StageOutcome(delta=delta, training=TrainingReport(), method=report), {})
    found = store.load_delta(stage.key)
    assert found is not None
    assert {n: (t.dtype, t.shape, t.numpy().tobytes()) for n, t in found.items()} == {
        n: (t.dtype, t.shape, t.numpy().tobytes()) for n, t in delta.items()
    }


@pytest.mark.parametrize("figure", [float("nan"), float("inf")])
def test_figures_that_are_not_finite_are_a_fault_of_the_run(tmp_path: Path, figure: float) -> None:
    """The loop checks losses before each step, so the last step is checked here."""
    store, stage = directory_store(tmp_path), small_trial().chain[0]
    outcome = outcome_of(1.0)
    method = replace(outcome.method, ortho_residual_max=figure)
    with pytest.raises(DivergedError, match="no longer finite after its last step"):
        store.save(stage, replace(outcome, method=method), {})
    assert list(store.objects.list()) == []


def test_a_second_writer_with_other_bits_changes_nothing(tmp_path: Path) -> None:
    store, stage = directory_store(tmp_path), small_trial().chain[0]
    store.save(stage, outcome_of(1.0, 2.0), {"host": "first"})
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    store.save(stage, outcome_of(1.0, 3.0), {"host": "second"})
    assert {file: file.read_bytes() for file in before} == before
    delta, record = store.load_delta(stage.key), store.record(stage.key)
    assert delta is not None
    assert delta["a"].tolist() == [1.0, 2.0]
    assert record is not None
    assert record.cost == {"host": "first"}
    assert messages_of(store) == []


def test_counts_that_are_there_stay(tmp_path: Path) -> None:
    store = directory_store(tmp_path)
    count = {"split": "test", "task": 0, "class_id": 0, "seen": True, "n": 4}
    other = {"correct": 1, "correct_task_given": 1, "task_id_correct": None}
    store.save_evaluation("ab", "e", [EvalCount(**count, **other)])
    store.save_evaluation("ab", "e", [EvalCount(**count, **{**other, "correct": 2})])
    rows = store.evaluation("ab", "e")
    assert rows is not None
    assert [row["correct"] for row in rows] == [1]


def test_the_marker_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that dies at any earlier moment leaves no stage."""
    store, stage = directory_store(tmp_path), small_trial().chain[0]
    written: list[str] = []
    put, create = store.objects.put, store.objects.put_if_absent

    def note_put(key: str, data: bytes) -> None:
        assert not store.has(stage.key)
        written.append(key.rsplit("/", 1)[1])
        put(key, data)

    def note_create(key: str, data: bytes) -> bool:
        assert not store.has(stage.key)
        written.append(key.rsplit("/", 1)[1])
        return create(key, data)

    monkeypatch.setattr(type(store.objects), "put", lambda _, key, data: note_put(key, data))
    monkeypatch.setattr(
        type(store.objects), "put_if_absent", lambda _, key, data: note_create(key, data)
    )
    store.save(stage, outcome_of(1.0), {})
    assert len(written) == 4
    assert written[-1] == "stage.json"
    assert store.has(stage.key)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut": cut,
    "empty": empty,
    "flipped": flip,
    "missing": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("start", ["state-", "result-", "stage.json"])
def test_a_damaged_stage_is_reported_moved_aside_and_computed_again(
    finished: Finished, start: str, damage: str
) -> None:
    """The last stage's evaluations are lost, so that the chain below it is read."""
    store, (_, damaged, last) = finished.store, finished.keys
    unbroken = metrics(store.objects)
    DAMAGES[damage](finished.file(1, start))
    for file in (finished.root / folder(last) / "evals").iterdir():
        file.unlink()
    reports = run_trial(finished.trial, store)
    assert trained_keys(reports) == [damaged]
    assert metrics(store.objects) == unbroken
    if (start, damage) == ("stage.json", "missing"):  # a half-written stage is no stage
        assert messages_of(store) == []
        return
    (message,) = messages_of(store)
    assert damaged[:12] in message
    assert f"moved to damaged/{damaged}/1" in message
    assert "trained again" in message
    aside = [name.rsplit("/", 1)[1] for name in store.objects.list(f"damaged/{damaged}/1")]
    assert "stage.json" in aside


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_evaluation_is_evaluated_again_and_trains_nothing(
    finished: Finished, damage: str
) -> None:
    store = finished.store
    unbroken = metrics(store.objects)
    identity = evaluation_id(finished.trial.readouts[0], partition_id(finished.trial.run))
    DAMAGES[damage](finished.file(1, identity))
    reports = run_trial(finished.trial, store)
    assert trained_keys(reports) == []
    assert metrics(store.objects) == unbroken
    said = [f"evaluation {identity} of stage {finished.keys[1][:12]} is damaged"]
    assert [message.split(":")[0] for message in messages_of(store)] == (
        [] if damage == "missing" else said
    )


@pytest.mark.parametrize("damage", [*DAMAGES, "of another kind"])
def test_a_lost_cost_is_harmless(finished: Finished, damage: str) -> None:
    file = finished.file(0, "cost.json")
    DAMAGES.get(damage, lambda file: file.write_text("[1]"))(file)
    store = finished.store
    for name in list(store.objects.list("sweeps/small/results")):
        store.objects.delete(name)
    assert trained_keys(run_trial(finished.trial, store)) == []
    stages = read_table(store.objects, "small", "stages").table.to_pylist()
    assert len(stages) == 3
    assert messages_of(store) == []


def test_a_stage_that_is_damaged_twice_keeps_both(finished: Finished) -> None:
    for _ in range(2):
        cut(finished.file(0, "result-"))
        assert finished.store.record(finished.keys[0]) is None
        run_trial(finished.trial, finished.store)
    names = finished.store.objects.list(f"damaged/{finished.keys[0]}")
    assert {name.split("/")[2] for name in names} == {"1", "2"}


def test_every_flipped_bit_of_a_marker_is_noticed(finished: Finished) -> None:
    data = finished.store.objects.get(f"{folder(finished.keys[0])}/stage.json")
    whole = verify_checksum(data)
    assert whole is not None
    for index in range(len(data)):
        for bit in (1, 0x20, 0x80):
            changed = data[:index] + bytes([data[index] ^ bit]) + data[index + 1 :]
            assert verify_checksum(changed) in (None, whole)


@pytest.mark.parametrize("text", ["", "{}", "[]", "1", '{"content": NaN, "sha256": ""}', "null"])
def test_what_is_no_sealed_document_is_not_believed(text: str) -> None:
    assert verify_checksum(text.encode()) is None
    assert verify_checksum(add_checksum({"a": [1, None, 0.5]})) == {"a": [1, None, 0.5]}


def test_equal_states_are_equal_files(finished: Finished, tmp_path: Path) -> None:
    """Trained again elsewhere: safetensors, results and counts have the same names and bytes."""
    other = directory_store(tmp_path / "other")
    run_trial(finished.trial, other)
    assert metrics(other.objects) == metrics(finished.store.objects)
    for name in payloads(other.objects, ("state-", "result-", "stage.json")):
        assert other.objects.get(name) == finished.store.objects.get(name)


def test_nothing_stored_is_pickled_or_knows_where_it_lies(finished: Finished) -> None:
    """So storage can be moved, and opening a strange one runs nobody's code."""
    kinds = set()
    for name in finished.store.objects.list():
        data = finished.store.objects.get(name)
        kind = name.rsplit(".", 1)[1]
        kinds.add(kind)
        if kind == "safetensors":
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            assert "__metadata__" not in header
        elif kind == "json":
            json.loads(data)
        else:
            with zipfile.ZipFile(io.BytesIO(data)) as bundle:
                members = [bundle.read(member) for member in bundle.namelist()]
            assert [content[:4] for content in members] == [b"PAR1"] * 4
            data += b"".join(members)
        for text in (str(finished.root), str(Path.cwd()), str(Path.home()), "/tmp"):
            assert text.encode() not in data, f"{name} holds {text}"
    assert kinds == {"safetensors", "json", "zip"}
