"""Pretrain the shipped nano ViT from generated pictures and rendered non-Latin characters.

    python tools/fetch_fonts.py --group pretrain --cache build/fonts
    python tools/pretrain_nano.py --fonts build/fonts/pretrain --out build/nano \
        --images 200000 --shape-classes 400 --glyph-classes 400

No evaluation picture is used, and no digit or letter of a script kept for evaluation is drawn
(tools/nano/glyphs.py). One thread, fixed seeds and a fixed number of pictures: the same machine
and versions give the same bits. Writes nano_vit32.safetensors (fp16) and nano_vit32.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nano.augment import colour, direction_targets, place
from nano.glyphs import glyph_classes
from nano.model import ARCHITECTURE, PretrainingModel
from nano.shapes import FAMILIES, Pictures
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides the result, apart from the font files and library versions."""

    images: int
    """Training pictures seen, repeats included."""
    shape_classes: int
    """Generated classes, a random choice of the 1,350; 0 takes all."""
    glyph_classes: int
    """Character classes, a random choice of those found; 0 takes all."""
    instances: int
    """Distinct pictures per class."""
    batch: int
    lr: float
    weight_decay: float
    warmup: float
    """Share of the run in which the learning rate rises."""
    label_smoothing: float
    direction_weight: float
    """Weight of the two regression losses against the two classification losses."""
    kept_tokens: int
    """Patch tokens kept, of 64, until `full_from`."""
    full_from: float
    """Share of the run after which all tokens are used."""
    ema: float
    """Decay of the averaged weights, which are the ones stored."""
    painted_from: float
    """Share of the run at which inverted and coloured pictures begin to appear."""
    painted_full: float
    """Share of the run from which on they are half of all pictures."""
    start: str
    """SHA-256 of the weights to start from; empty for a new backbone."""
    seed: int


def make_data(recipe: Recipe, fonts: Path) -> tuple[Pictures, NDArray[np.int64], dict[str, int]]:
    """Pictures (n, 40, 40), their classes (n,), and the number of classes per family."""
    choose = np.random.default_rng([recipe.seed, 0])
    plan = [(family, index) for family, (_, total) in FAMILIES.items() for index in range(total)]
    if recipe.shape_classes:
        picks = choose.permutation(len(plan))[: recipe.shape_classes]
        plan = [plan[i] for i in sorted(picks.tolist())]
    numbers = {family: k for k, family in enumerate(FAMILIES)}
    groups: list[Pictures] = []
    counts = dict.fromkeys(FAMILIES, 0)
    for family, index in plan:
        rng = np.random.default_rng([recipe.seed, 1, numbers[family], index])
        groups.append(FAMILIES[family][0](rng, recipe.instances))
        counts[family] += 1
    _, glyphs = glyph_classes(fonts, recipe.instances, np.random.default_rng([recipe.seed, 2]))
    if recipe.glyph_classes:
        picks = choose.permutation(len(glyphs))[: recipe.glyph_classes]
        glyphs = [glyphs[i] for i in sorted(picks.tolist())]
    groups += glyphs
    counts["glyph"] = len(glyphs)
    labels = np.repeat(np.arange(len(groups)), recipe.instances)
    return np.concatenate(groups), labels, counts


def parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """No weight decay on vectors, nor on the position and CLS embeddings."""
    named = [*model.named_parameters()]
    plain = [p for n, p in named if p.ndim < 2 or n.endswith(("pos_embed", "cls_token"))]
    ids = {id(p) for p in plain}
    return [
        {"params": [p for _, p in named if id(p) not in ids], "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


def learning_rate(recipe: Recipe, done: float) -> float:
    """Linear rise, then a half cosine to zero; `done` in [0, 1]."""
    if done < recipe.warmup:
        return recipe.lr * done / recipe.warmup
    return (
        recipe.lr * 0.5 * (1.0 + math.cos(math.pi * (done - recipe.warmup) / (1 - recipe.warmup)))
    )


def painted_share(recipe: Recipe, done: float) -> float:
    """Share of inverted and coloured pictures, rising from 0 to one half.

    With half from the start, a new backbone still guessed at chance after 16,000 pictures.
    """
    rise = max(recipe.painted_full - recipe.painted_from, 1e-9)
    return 0.5 * min(1.0, max(0.0, (done - recipe.painted_from) / rise))


def target_scale(pictures: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean and deviation of the direction targets on 2,048 pictures, for tokens and for CLS."""
    generator = torch.Generator().manual_seed(seed)
    sample = pictures[torch.randperm(len(pictures), generator=generator)[:2048]]
    tokens, whole = direction_targets(place(sample, generator))
    flat = tokens.flatten(0, 1)
    return flat.mean(0), flat.std(0) + 1e-3, whole.mean(0), whole.std(0) + 1e-3


class Trainer:
    """Model, optimiser and averaged weights; a step's randomness depends on its number only."""

    def __init__(
        self,
        recipe: Recipe,
        pictures: Pictures,
        labels: NDArray[np.int64],
        start: dict[str, Tensor] | None = None,
    ) -> None:
        self.recipe = recipe
        self.pictures = torch.from_numpy(pictures)
        self.labels = torch.from_numpy(labels)
        self.model = PretrainingModel(int(labels[-1]) + 1, recipe.seed)
        if start is not None:
            self.model.backbone.load_state_dict({k: v.float() for k, v in start.items()})
        self.average = {k: v.clone() for k, v in self.model.backbone.state_dict().items()}
        groups = parameter_groups(self.model, recipe.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, lr=recipe.lr, fused=True)
        self.scale = target_scale(self.pictures, recipe.seed)
        self.steps = recipe.images // recipe.batch
        self.per_epoch = len(self.pictures) // recipe.batch
        self.epoch, self.order = -1, np.empty(0, np.int64)

    def rows(self, step: int) -> Tensor:
        """Indices of the pictures of a step: each epoch is a new permutation."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            rng = np.random.default_rng([self.recipe.seed, 3, epoch])
            self.epoch, self.order = epoch, rng.permutation(len(self.pictures))
        start = position * self.recipe.batch
        return torch.from_numpy(self.order[start : start + self.recipe.batch])

    def step(self, step: int) -> tuple[float, float]:
        """One optimiser step; returns the loss and the accuracy of the CLS head."""
        recipe = self.recipe
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        rows = self.rows(step)
        labels = self.labels[rows]
        clean = place(self.pictures[rows], generator)
        images = colour(clean, generator, painted_share(recipe, step / self.steps))
        tokens, whole = direction_targets(clean)
        tokens = (tokens - self.scale[0]) / self.scale[1]  # (B, 64, TOKEN_TARGETS)
        whole = (whole - self.scale[2]) / self.scale[3]  # (B, CLS_TARGETS)
        kept = None
        if step < recipe.full_from * self.steps:
            order = torch.rand(len(rows), 64, generator=generator).argsort(1)
            kept = order[:, : recipe.kept_tokens]
            tokens = tokens.gather(1, kept[..., None].expand(-1, -1, tokens.shape[-1]))
        by_cls, by_mean, cls_directions, token_directions = self.model(images, kept)
        smooth = recipe.label_smoothing
        loss = F.cross_entropy(by_cls, labels, label_smoothing=smooth)
        loss = loss + F.cross_entropy(by_mean, labels, label_smoothing=smooth)
        directions = F.mse_loss(cls_directions, whole) + F.mse_loss(token_directions, tokens)
        loss = loss + recipe.direction_weight * directions
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(recipe, (step + 1) / self.steps)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        decay = min(recipe.ema, (1 + step) / (10 + step))
        for key, value in self.model.backbone.state_dict().items():
            self.average[key].lerp_(value, 1.0 - decay)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"loss must stay finite, but is {value} at step {step}")
        return value, float((by_cls.argmax(1) == labels).float().mean())

    def save(self, path: Path, step: int, cpu_s: float) -> None:
        """Checkpoint after `step` steps, written aside and renamed."""
        state = {
            "recipe": asdict(self.recipe),
            "step": step,
            "cpu_s": cpu_s,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average,
        }
        aside = path.with_suffix(".tmp")
        torch.save(state, aside)
        os.replace(aside, path)

    def resume(self, path: Path) -> tuple[int, float]:
        """Steps done and CPU seconds spent according to a checkpoint of the same recipe."""
        state = torch.load(path, weights_only=True)
        if state["recipe"] != asdict(self.recipe):
            raise ValueError(f"{path} is of another recipe: {state['recipe']}")
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average = state["average"]
        return int(state["step"]), float(state["cpu_s"])

    def fit(self, checkpoint: Path, report_s: float) -> float:
        """Run to the end, from the checkpoint if there is one; returns CPU seconds."""
        first, spent = self.resume(checkpoint) if checkpoint.exists() else (0, 0.0)
        start, last_report, last_save = time.process_time(), time.monotonic(), time.monotonic()
        loss = hits = 0.0
        since = first
        for step in range(first, self.steps):
            step_loss, step_hits = self.step(step)
            loss, hits = loss + step_loss, hits + step_hits
            now, done = time.monotonic(), step + 1
            if now - last_report > report_s or done == self.steps:
                n = done - since
                rate = n * self.recipe.batch / max(now - last_report, 1e-9)
                print(
                    f"images {done * self.recipe.batch} of {self.steps * self.recipe.batch}  "
                    f"loss {loss / n:.3f}  accuracy {hits / n:.4f}  {rate:.0f} images/s",
                    flush=True,
                )
                loss, hits, since, last_report = 0.0, 0.0, done, now
            if now - last_save > 300:
                self.save(checkpoint, done, spent + time.process_time() - start)
                last_save = now
        return spent + time.process_time() - start


def record_of(weights: Path | None) -> dict[str, Any] | None:
    """Provenance record of the weights that a run starts from, and of their predecessors."""
    if weights is None:
        return None
    record: dict[str, Any] = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    kept = ("sha256", "recipe", "images_seen", "distinct_images", "classes", "cpu_s", "before")
    return {name: record[name] for name in kept if name in record}


def store(
    trainer: Trainer,
    out: Path,
    counts: dict[str, int],
    cpu_s: dict[str, float],
    before: dict[str, Any] | None,
) -> None:
    """Write the averaged weights in fp16, and what is to be known about them."""
    half = {key: value.half().contiguous() for key, value in trainer.average.items()}
    path = out / "nano_vit32.safetensors"
    save_file(half, path)
    path.chmod(0o644)  # safetensors writes it for its owner only
    facts = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "architecture": {"class": "timm VisionTransformer", **ARCHITECTURE},
        "normalise": {"mean": [0.5] * 3, "std": [0.5] * 3},
        "recipe": asdict(trainer.recipe),
        "images_seen": trainer.steps * trainer.recipe.batch,
        "distinct_images": len(trainer.pictures),
        "classes": {**counts, "total": sum(counts.values())},
        "cpu_s": {name: round(value) for name, value in cpu_s.items()},
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "before": before,
    }
    (out / "nano_vit32.json").write_text(json.dumps(facts, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Pretrain the nano ViT backbone.")
    parser.add_argument("--fonts", type=Path, default=Path("build/fonts/pretrain"))
    parser.add_argument("--out", type=Path, default=Path("build/nano"))
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--shape-classes", type=int, default=400, help="0: all")
    parser.add_argument("--glyph-classes", type=int, default=400, help="0: all")
    parser.add_argument("--instances", type=int, default=40)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--warmup", type=float, default=0.03)
    parser.add_argument("--label-smoothing", type=float, default=0.05)
    parser.add_argument("--direction-weight", type=float, default=1.0)
    parser.add_argument("--kept-tokens", type=int, default=32)
    parser.add_argument("--full-from", type=float, default=0.85)
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--painted-from", type=float, default=0.25)
    parser.add_argument("--painted-full", type=float, default=0.65)
    parser.add_argument("--start", type=Path, help="weights to start from; default: none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report-s", type=float, default=30.0)
    args = vars(parser.parse_args())
    fonts, out, report_s = args.pop("fonts"), args.pop("out"), args.pop("report_s")
    start = args.pop("start")
    digest = hashlib.sha256(start.read_bytes()).hexdigest() if start else ""
    before = record_of(start)
    recipe = Recipe(**args, start=digest)
    logging.getLogger("fontTools").setLevel(logging.ERROR)  # harmless remarks on old fonts
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    out.mkdir(parents=True, exist_ok=True)
    begin = time.process_time()
    pictures, labels, counts = make_data(recipe, fonts)
    data_s = time.process_time() - begin
    print(f"{len(pictures)} pictures, {counts}, {data_s:.0f} CPU s", flush=True)
    trainer = Trainer(recipe, pictures, labels, load_file(start) if start else None)
    train_s = trainer.fit(out / "checkpoint.pt", report_s)
    store(trainer, out, counts, {"data": data_s, "training": train_s}, before)
    print(f"stored in {out}; training took {train_s:.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
