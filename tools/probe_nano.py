"""Score frozen features of the nano backbone on pictures that pretraining never saw.

    python tools/probe_nano.py --weights clmethods/weights/nano_vit32.safetensors
    python tools/fetch_fonts.py --group letters_train --group letters_test --group fashion
    python tools/probe_nano.py --weights ... --letters build/fonts --fashion build/fonts/fashion

Nearest class mean (cosine, centred features) and a linear probe (L2 logistic regression on
standardised features), on the CLS token, beside a random backbone and raw pixels.
Prints a Markdown table, accuracies in percent.
"""

from __future__ import annotations

import argparse
import gzip
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from nano.glyphs import draw_glyph, font_files, load_font, supports
from nano.model import load_backbone
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """Grey pictures in [0, 1], shape (n, side, side), and labels, for training and for test."""

    name: str
    size: int
    """Side in pixels at which the backbone sees the pictures."""
    train: Floats
    train_labels: Labels
    test: Floats
    test_labels: Labels


def resize(pictures: Floats, size: int) -> Floats:
    """Bicubic, (n, side, side) -> (n, size, size), clipped to [0, 1]."""
    rows = [
        np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.BICUBIC))
        for p in pictures
    ]
    clipped: Floats = np.clip(np.stack(rows), 0.0, 1.0).astype(np.float32)
    return clipped


def digits(size: int) -> ProbeSet:
    """The scikit-learn digits: 1,200 for training, 500 for test, shuffled by seed 0."""
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    pictures = resize((bunch.images[order] / 16.0).astype(np.float32), size)
    labels = bunch.target[order].astype(np.int64)
    name = f"digits, {size} px"
    return ProbeSet(
        name, size, pictures[:1200], labels[:1200], pictures[1200:1700], labels[1200:1700]
    )


def fashion(folder: Path) -> ProbeSet:
    """Fashion-MNIST: 5,000 of the training and 1,000 of the test pictures, by seed 0."""

    def read(stem: str, kind: str, offset: int) -> NDArray[np.uint8]:
        (path,) = folder.rglob(f"{stem}-{kind}-ubyte.gz")
        return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=offset)

    def part(stem: str, count: int) -> tuple[Floats, Labels]:
        pictures = read(stem, "images-idx3", 16).reshape(-1, 28, 28)
        labels = read(stem, "labels-idx1", 8)
        picks = np.random.default_rng(0).permutation(len(labels))[:count]
        scaled = pictures[picks].astype(np.float32) / 255.0
        return resize(scaled, 32), labels[picks].astype(np.int64)

    return ProbeSet("Fashion-MNIST, 32 px", 32, *part("train", 5000), *part("t10k", 1000))


def letters(folder: Path) -> ProbeSet:
    """A-Z from fonts that hold all of them; no font package is in both groups."""

    def part(group: str) -> tuple[Floats, Labels]:
        seen: set[bytes] = set()
        pictures: list[NDArray[np.uint8]] = []
        labels: list[int] = []
        for path in font_files(folder / group):
            if not supports(path, LETTERS):
                continue
            font = load_font(path)
            for label, character in enumerate(LETTERS):
                picture = draw_glyph(font, character, 0.0)
                if picture is not None and picture.tobytes() not in seen:
                    seen.add(picture.tobytes())
                    pictures.append(picture)
                    labels.append(label)
        scaled = np.stack(pictures).astype(np.float32) / 255.0
        return resize(scaled, 32), np.array(labels)

    return ProbeSet("letters A-Z, 32 px", 32, *part("letters_train"), *part("letters_test"))


def features(pictures: Floats, weights: dict[str, Tensor] | None, size: int) -> Floats:
    """CLS features, (n, size, size) -> (n, 128); `None` is the random backbone of seed 0."""
    model = load_backbone(weights, size, seed=0)
    blocks = []
    with torch.inference_mode():
        for block in torch.split(torch.from_numpy(pictures), 256):
            images = ((block - 0.5) / 0.5)[:, None].expand(-1, 3, -1, -1)  # (B, 3, size, size)
            blocks.append(model(images))
    result: Floats = torch.cat(blocks).numpy()
    return result


def nearest_class_mean(train: Floats, labels: Labels, test: Floats, truth: Labels) -> float:
    """Accuracy of the class mean with the highest cosine, after centring on the training mean."""
    centre = train.mean(0)
    train, test = train - centre, test - centre
    means = np.stack([train[labels == k].mean(0) for k in np.unique(labels)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return float(np.mean(np.unique(labels)[(test @ means.T).argmax(1)] == truth))


def linear_probe(train: Floats, labels: Labels, test: Floats, truth: Labels) -> float:
    """Accuracy of a logistic regression (C = 1, 300 iterations) on standardised features."""
    scaler = StandardScaler().fit(train)
    probe = LogisticRegression(max_iter=300).fit(scaler.transform(train), labels)
    return float(probe.score(scaler.transform(test), truth))


def cell(train: Floats, test: Floats, data: ProbeSet) -> str:
    near = nearest_class_mean(train, data.train_labels, test, data.test_labels)
    linear = linear_probe(train, data.train_labels, test, data.test_labels)
    return f"{100 * near:.1f} / {100 * linear:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Probe the nano ViT backbone.")
    parser.add_argument(
        "--weights", type=Path, default=Path("clmethods/weights/nano_vit32.safetensors")
    )
    parser.add_argument("--fashion", type=Path, help="folder with the unpacked Debian package")
    parser.add_argument("--letters", type=Path, help="font cache of tools/fetch_fonts.py")
    args = parser.parse_args()
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=ConvergenceWarning)  # pixels: 300 are enough
    torch.set_num_threads(1)
    sets = [digits(16), digits(32)]
    if args.fashion:
        sets.append(fashion(args.fashion))
    if args.letters:
        sets.append(letters(args.letters))
    weights = load_file(args.weights)
    rows: dict[str, list[str]] = {"nano_vit32": [], "random backbone": [], "raw pixels": []}
    for data in sets:
        for name, state in (("nano_vit32", weights), ("random backbone", None)):
            train = features(data.train, state, data.size)
            test = features(data.test, state, data.size)
            rows[name].append(cell(train, test, data))
        flat = data.train.reshape(len(data.train), -1), data.test.reshape(len(data.test), -1)
        rows["raw pixels"].append(cell(*flat, data))
    print("| features (NCM / LP, %) | " + " | ".join(data.name for data in sets) + " |")
    print("| --- |" + " --- |" * len(sets))
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |")
    for data in sets:
        print(f"\n{data.name}: {len(data.train)} training, {len(data.test)} test pictures.")


if __name__ == "__main__":
    main()
