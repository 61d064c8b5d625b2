"""Exports read back by the libraries that they are for, plain timm and plain PEFT."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from peft import PeftModel
from torch import Tensor

from clmethods.archive import ArchiveError, ModelArchive
from clmethods.config import (
    METHOD_CONFIGS,
    BackboneConfig,
    LoracIpcConfig,
    LoraSequentialConfig,
    ReadoutConfig,
    RunConfig,
)
from clmethods.config.methods import AdapterFields
from clmethods.determinism import open_run
from clmethods.evaluate import Evaluator
from clmethods.export import (
    ExportedModel,
    ExportError,
    ExportOptions,
    export_model,
    measure_export,
)
from clmethods.methods import METHODS
from clmethods.training.sequence import run_sequence
from tests.clmethods.models import INSTANCE, damage, finished
from tests.clmethods.runs import STREAM, small_method, tiny_run

SHUFFLED = replace(STREAM, class_order_seed=1, task_order=(2, 0, 1))
LORAC = LoracIpcConfig(
    rank=6, importance_threshold=0.2, omega_lr_scale=1.0, sites=("q", "v", "f1")
)
LAST = ReadoutConfig()


@pytest.fixture(scope="module")
def lorac_model(tmp_path_factory: pytest.TempPathFactory) -> ModelArchive:
    """Two of the three parts of qkv adapted, one rank above the width, in shuffled classes."""
    run = tiny_run(LORAC, SHUFFLED, precision="float32")
    return finished(tmp_path_factory.mktemp("lorac") / "m", run, [LAST, INSTANCE])


@pytest.fixture(scope="module")
def exported(lorac_model: ModelArchive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "out"
    export_model(lorac_model, out, ExportOptions())
    return out


def every_test_image(run: RunConfig) -> Tensor:
    return open_run(run)[1].data(tuple(range(10)), "test").images


def ours(archive: ModelArchive, images: Tensor) -> Tensor:
    """(n, C) scores of the last snapshot, by original class id."""
    state: dict[str, Tensor] = {}
    for delta in archive.deltas():
        state |= delta
    last = len(archive.chain) - 1
    run = archive.run
    method = METHODS[run.method.kind]
    return method.predictor(run, open_run(run)[0], state, last, last).scores(images)


def pixels(images: Tensor) -> Tensor:
    """As a user of timm would: grey to RGB in [0, 1], mean and deviation 0.5."""
    return (images[:, None].expand(-1, 3, -1, -1) / 255.0 - 0.5) / 0.5


def plain(folder: Path) -> torch.nn.Module:
    """Load the exported model with timm alone, as the model card describes."""
    config = json.loads((folder / "config.json").read_text())
    return timm.create_model(
        config["architecture"],
        num_classes=config["num_classes"],
        checkpoint_path=str(folder / "model.safetensors"),
        **config["model_args"],
    ).eval()


@torch.no_grad()
def test_timm_alone_gives_our_logits(lorac_model: ModelArchive, exported: Path) -> None:
    images = every_test_image(lorac_model.run)
    found = plain(exported / "timm")(pixels(images))
    torch.testing.assert_close(found, ours(lorac_model, images), atol=1e-5, rtol=0)


@torch.no_grad()
def test_timm_reads_the_folder_as_a_model_of_its_own(
    lorac_model: ModelArchive, exported: Path
) -> None:
    """Preprocessing included, through timm's own transform, on files of images."""
    from PIL import Image
    from timm.data import create_transform, resolve_data_config

    model = timm.create_model(f"local-dir:{exported / 'timm'}", pretrained=True).eval()
    transform: Any = create_transform(**resolve_data_config({}, model=model))
    images = every_test_image(lorac_model.run)[:5]
    files = [Image.fromarray(image.numpy()).convert("RGB") for image in images]
    found = model(torch.stack([transform(file) for file in files]))
    torch.testing.assert_close(found, ours(lorac_model, images), atol=1e-5, rtol=0)
    assert model.pretrained_cfg["label_names"] == [str(label) for label in range(10)]


@torch.no_grad()
def test_peft_alone_gives_our_logits(lorac_model: ModelArchive, exported: Path) -> None:
    images = every_test_image(lorac_model.run)
    model = PeftModel.from_pretrained(plain(exported / "base"), str(exported / "peft")).eval()
    torch.testing.assert_close(model(pixels(images)), ours(lorac_model, images), atol=1e-5, rtol=0)
    merged = model.merge_and_unload()(pixels(images))
    torch.testing.assert_close(merged, ours(lorac_model, images), atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_model_card_says_how_to_load_it(
    lorac_model: ModelArchive, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snippets for timm and PEFT run in its folder, and give our predictions."""
    monkeypatch.chdir(exported)
    images = every_test_image(lorac_model.run)
    blocks = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), flags=re.DOTALL)
    found = []
    for block in (block for block in blocks if "photo.jpg" not in block):
        names: dict[str, Any] = {}
        exec(block, names)
        found.append(names["model"](pixels(images)).argmax(dim=1))
    assert len(found) == 2
    expected = ours(lorac_model, images).argmax(dim=1)
    assert all(torch.equal(labels, expected) for labels in found)


def test_ranks_are_per_layer_and_capped(lorac_model: ModelArchive, exported: Path) -> None:
    """Three tasks of rank 6 in q and v make 36, above the width 16; f1 has 18, above it too."""
    config = json.loads((exported / "peft" / "adapter_config.json").read_text())
    assert max([config["r"], *config["rank_pattern"].values()]) == 16
    assert config["alpha_pattern"] == config["rank_pattern"]
    assert config["lora_alpha"] == config["r"]
    assert config["modules_to_save"] == ["head"]


def test_a_cut_rank_is_reported(lorac_model: ModelArchive, tmp_path: Path) -> None:
    document = export_model(
        lorac_model, tmp_path / "out", ExportOptions(formats=["peft"], max_rank=2)
    )
    found = document["checks"]["peft"]
    assert set(found["ranks"].values()) == {2}
    assert all(0 < error < 1 for error in found["update_error"].values())
    assert found["logit_difference"] > 1e-5
    assert "Ranks were cut" in (tmp_path / "out" / "README.md").read_text()


def test_a_trained_backbone_of_the_shipped_shape_is_plain_timm(tmp_path: Path) -> None:
    """`nano_vit32` has no name in timm: its sizes are in config.json."""
    backbone = BackboneConfig(name="nano_vit32", image_size=8)
    run = replace(tiny_run(LoraSequentialConfig(rank=2), precision="float32"), backbone=backbone)
    archive = finished(tmp_path / "m", run)
    export_model(archive, tmp_path / "out", ExportOptions(formats=["timm"]))
    images = every_test_image(run)[:8]
    with torch.no_grad():
        found = plain(tmp_path / "out" / "timm")(pixels(images))
    torch.testing.assert_close(found, ours(archive, images), atol=1e-5, rtol=0)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert archive.run.backbone.weights_sha256 is not None
    assert archive.run.backbone.weights_sha256 in card


def test_a_run_in_bfloat16_exports_the_network_without_rounding(tmp_path: Path) -> None:
    run = tiny_run(LoraSequentialConfig(rank=2), precision="bfloat16")
    archive = finished(tmp_path / "m", run)
    export_model(archive, tmp_path / "out", ExportOptions(formats=["timm"]))
    images = every_test_image(run)[:8]
    with torch.no_grad():
        found = plain(tmp_path / "out" / "timm")(pixels(images))
    rounded = ours(archive, images)
    assert not torch.allclose(found, rounded, atol=1e-5, rtol=0)
    torch.testing.assert_close(found, rounded, atol=0.05, rtol=0.05)


LOW_RANK = {
    kind
    for kind, config in METHOD_CONFIGS.items()
    if issubclass(config, AdapterFields) and kind != "ewc"  # by default, EWC trains all weights
}
"""Methods whose network is the backbone and low-rank updates."""


@pytest.mark.parametrize("kind", sorted(METHODS))
def test_every_method_exports_what_it_predicts(kind: str, tmp_path: Path) -> None:
    """Or says plainly that it cannot; class means give cosines times the norm of the feature."""
    run = tiny_run(small_method(kind), precision="float64")
    archive = finished(tmp_path / "m", run)
    images = every_test_image(run)
    if kind == "ranpac":
        with pytest.raises(ExportError, match="one linear layer"):
            export_model(archive, tmp_path / "timm", ExportOptions(formats=["timm"]))
        return
    export_model(archive, tmp_path / "timm", ExportOptions(formats=["timm"]))
    model = ExportedModel.load(tmp_path / "timm")
    scores = ours(archive, images)
    assert torch.equal(model.predict(images), scores.argmax(dim=1))
    if kind == "nearest_class_mean":
        lengths = model.scores(images).norm(dim=1) / scores.norm(dim=1)
        scores = scores * lengths[:, None]
    torch.testing.assert_close(model.scores(images).double(), scores, atol=1e-5, rtol=1e-5)
    adapter = ExportOptions(formats=["peft"])
    if kind in LOW_RANK:
        export_model(archive, tmp_path / "peft", adapter)
        again = ExportedModel.load(tmp_path / "peft").scores(images)
        torch.testing.assert_close(again.double(), scores, atol=1e-5, rtol=0)
    else:
        with pytest.raises(ExportError, match="--format timm"):
            export_model(archive, tmp_path / "peft", adapter)
        assert not (tmp_path / "peft").exists()


def test_a_routed_export_predicts_as_the_evaluation_does(
    lorac_model: ModelArchive, tmp_path: Path
) -> None:
    """Class by class, on every test image, from the folder alone."""
    export_model(lorac_model, tmp_path / "out", ExportOptions(readout=INSTANCE))
    model = ExportedModel.load(tmp_path / "out")
    run, chain = lorac_model.run, lorac_model.chain
    state = {name: tensor for delta in lorac_model.deltas() for name, tensor in delta.items()}
    counts = Evaluator(run, chain).counts(len(chain) - 1, state, [INSTANCE])["instance-cosine"]
    position = {group.index: stage.position for stage in chain for group in stage.groups}
    for row in (row for row in counts if row.split == "test"):
        images = open_run(run)[1].data((row.class_id,), "test").images
        assert int((model.predict(images) == row.class_id).sum()) == row.correct
        assert int((model.routes(images) == position[row.task]).sum()) == row.task_id_correct
    snapshots = sorted(path.name for path in (tmp_path / "out" / "snapshots").iterdir())
    assert snapshots == ["0", "1", "2"]
    base = plain(tmp_path / "out" / "base")
    peft = PeftModel.from_pretrained(base, str(tmp_path / "out" / "snapshots" / "1"))
    assert peft.peft_config["default"].peft_type == "LORA"


@pytest.mark.parametrize(
    "readout",
    [
        ReadoutConfig(routing="instance", tap=True, tap_epochs=2),
        ReadoutConfig(tap=True, tap_epochs=2, tap_restore=False),
    ],
    ids=["routed", "last, without restoring"],
)
def test_a_head_from_task_adaptive_prediction_is_exported(
    readout: ReadoutConfig, tmp_path: Path
) -> None:
    """Task by task the folder alone scores what the evaluation of the run did."""
    run = tiny_run(LORAC, SHUFFLED, precision="float32")
    archive = finished(tmp_path / "model", run, [readout])
    export_model(archive, tmp_path / "out", ExportOptions(readout=readout))
    found = measure_export(tmp_path / "out", "test")
    assert [score.accuracy for score in found] == [score.promised for score in found]
    plain = finished(tmp_path / "plain", run, [readout.routing_alone])
    assert archive.metrics().splits["test"] != plain.metrics().splits["test"]


def test_an_export_carries_its_chain_and_can_be_gone_on_from(
    lorac_model: ModelArchive, exported: Path, tmp_path: Path
) -> None:
    carried = ModelArchive.open(exported)
    assert carried.folder == exported / "chain"
    assert [s.key for s in carried.chain] == [s.key for s in lorac_model.chain]
    assert carried.metrics() == lorac_model.metrics()
    mine, theirs = carried.statistics(), lorac_model.statistics()
    assert mine.keys() == theirs.keys()
    assert mine
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    export_model(lorac_model, tmp_path / "light", ExportOptions(chain=False))
    with pytest.raises(ArchiveError, match="--no-chain"):
        ModelArchive.open(tmp_path / "light")


def test_a_readout_that_is_given_the_task_is_not_exported(
    lorac_model: ModelArchive, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="requires the true task"):
        export_model(
            lorac_model, tmp_path / "out", ExportOptions(readout=ReadoutConfig(routing="oracle"))
        )


def test_an_unfinished_run_is_not_exported(tmp_path: Path) -> None:
    run = tiny_run()
    archive = ModelArchive.create(tmp_path / "m", run)
    run_sequence(replace(run), (), archive)
    last = archive.chain[-1].key
    (tmp_path / "m" / "stages" / last[:2] / last / "stage.json").unlink()
    with pytest.raises(ArchiveError, match="not finished: stage 3 of 3, task 2, is not trained"):
        export_model(archive, tmp_path / "out", ExportOptions())
    assert not (tmp_path / "out").exists()


def test_a_method_that_does_not_predict_as_it_says_is_found_out(
    tmp_path: Path, lorac_model: ModelArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = METHODS["lorac_ipc"]
    true = method.low_rank

    def wrong(*arguments: Any) -> Any:
        return {m: (a, 2 * b) for m, (a, b) in (true(*arguments) or {}).items()}

    monkeypatch.setattr(method, "low_rank", wrong)
    with pytest.raises(ExportError, match="the PEFT export differs from the model"):
        export_model(lorac_model, tmp_path / "out", ExportOptions())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["timm/model.safetensors", "peft/adapter_model.safetensors"])
def test_a_damaged_export_is_refused(exported: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(exported, tmp_path / "out")
    damage(tmp_path / "out" / name)
    with pytest.raises(ExportError, match=r"its checksum differs from export\.json"):
        ExportedModel.load(tmp_path / "out")


def test_a_folder_that_is_no_export_and_one_that_is_not_empty(
    tmp_path: Path, lorac_model: ModelArchive
) -> None:
    with pytest.raises(ExportError, match=r"is not an export: it has no export\.json"):
        ExportedModel.load(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExportError, match="is not empty"):
        export_model(lorac_model, tmp_path, ExportOptions())


@pytest.mark.parametrize(
    ("package", "message"),
    [("peft", "PEFT, which is not installed"), ("timm", "the package 'timm' is not installed")],
)
def test_a_missing_library_is_named(
    lorac_model: ModelArchive, tmp_path: Path, package: str, message: str
) -> None:
    """In a process in which the library cannot be imported."""
    script = f"""
import sys
from importlib.machinery import PathFinder
class Missing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == {package!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == {package!r} else found(name, *rest)
sys.meta_path.insert(0, Missing)
from clmethods.cli import main
main(["export", {str(lorac_model.folder)!r}, "-o", {str(tmp_path / "out")!r}])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
