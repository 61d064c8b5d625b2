"""CPU seconds of a composed layer over those of the bare frozen layer, by form and shape.

Forward and backward pass with the gradients of the input, A, B and the module weights. The bare
layer has the gradient of the input only. The last lines are the table of
`clmethods/nn/products/product_forms.py`.

    python benchmarks/products.py [WIDTH ...]
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import get_args

import torch
import torch.nn.functional as F

from clmethods.nn.products.composed_products import Factors, Form, PartConstants, composed_product
from clmethods.nn.products.product_forms import RANKS, LayerShape

REPETITIONS = 7
RANK = 8
WIDTHS = (96, 192, 384, 768)
ROWS = (64, 512, 2048)
FORMS: tuple[Form, ...] = get_args(Form)
CLEARLY = 0.95
"""Largest ratio of another form to `merged` with which it is chosen instead."""


def layer_steps(shape: LayerShape) -> dict[str, Callable[[], object]]:
    """Return the steps of the bare layer and of every form, on the same tensors."""
    size, past = shape.fan_out // shape.parts, shape.rank - RANK
    x = torch.randn(shape.rows, shape.fan_in, requires_grad=True)
    weight, bias = torch.randn(shape.fan_out, shape.fan_in), torch.randn(shape.fan_out)
    g = torch.randn(shape.rows, shape.fan_out)
    parts: list[tuple[PartConstants, Factors]] = []
    for index in range(shape.parts):
        earlier = (torch.randn(past, shape.fan_in), torch.randn(past, size)) if past else None
        rows = slice(index * size, (index + 1) * size)
        a, b = torch.randn(RANK, shape.fan_in), torch.randn(size, RANK)
        omega = torch.randn(past // RANK).requires_grad_() if past else None
        factors = Factors(a.requires_grad_(), b.requires_grad_(), omega)
        parts.append((PartConstants(rows, 0.5, earlier), factors))
    trained = [tensor for _, part in parts for tensor in part if tensor is not None]

    def step(form: Form) -> Callable[[], object]:
        return lambda: torch.autograd.grad(
            composed_product(x, weight, bias, parts, form), [x, *trained], g
        )

    bare = {"bare": lambda: torch.autograd.grad(F.linear(x, weight, bias), [x], g)}
    return bare | {form: step(form) for form in FORMS}


def medians(steps: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median CPU seconds of interleaved repetitions after a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repetition in range(REPETITIONS + 1):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if repetition:
                seconds[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def choice(found: dict[str, float]) -> Form:
    """Return the form of the table: the fastest, but `merged` unless another is clearly faster."""
    best = min(FORMS, key=found.__getitem__)
    return best if found[best] <= CLEARLY * found["merged"] else "merged"


def main() -> None:
    """Print the ratios of all shapes, then the table as code."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{platform.machine()}, torch {torch.__version__}, one thread, medians of {REPETITIONS}")
    print("layer                 rows  rank       bare   dense  merged    thin")
    code: list[str] = []
    for width in map(int, sys.argv[1:]) if sys.argv[1:] else WIDTHS:
        layers = ((width, 3 * width, 3), (width, width, 1), (width, 4 * width, 1))
        for layer in (*layers, (4 * width, width, 1)):
            code.append(f"    {layer}: {{")
            for rows in ROWS:
                forms: list[Form] = []
                for rank in RANKS:
                    found = medians(layer_steps(LayerShape(*layer, rows, rank)))
                    forms.append(choice(found))
                    ratios = " ".join(f"{found[form] / found['bare']:>7.2f}" for form in FORMS)
                    name = f"{layer[0]} -> {layer[2]} x {layer[1] // layer[2]}"
                    print(f"{name:<20} {rows:>5} {rank:>5} {found['bare']:>8.4f} s {ratios}")
                quoted = ", ".join(f'"{form}"' for form in forms)
                code.append(f"        {rows}: ({quoted}),")
            code.append("    },")
    print("\n".join(["FASTEST = {", *code, "}"]))


if __name__ == "__main__":
    main()
