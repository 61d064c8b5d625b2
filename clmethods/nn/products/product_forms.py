"""`fastest_form`: the form of the products of a composed layer, by its shape.

The table was printed by `python benchmarks/products.py`: one thread of an AMD EPYC, float32,
forward and backward pass of one layer with module weights that are learned. `merged` is chosen
unless another form was faster by at least 5 %.

The form changes the last digits of results. Raise `FORM_TABLE` in
`clmethods/config/methods/lorac_effect.py` if a row or the rule changes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from clmethods.nn.products.composed_products import Form


class LayerShape(NamedTuple):
    """Shape of a product with a composed layer."""

    fan_in: int
    fan_out: int
    """Outputs of all parts."""
    parts: int
    rows: int
    """Rows N of x: images times tokens."""
    rank: int
    """Largest sum of the ranks of all modules of a part."""


RANKS = (8, 40, 80)
"""Columns of the table: the sum of the ranks of the modules at tasks 1, 5 and 10 with rank 8."""

FASTEST: dict[tuple[int, int, int], dict[int, tuple[Form, ...]]] = {
    (96, 288, 3): {
        64: ("merged", "merged", "dense"),
        512: ("merged", "dense", "dense"),
        2048: ("merged", "dense", "dense"),
    },
    (96, 96, 1): {
        64: ("dense", "merged", "dense"),
        512: ("merged", "dense", "dense"),
        2048: ("merged", "dense", "dense"),
    },
    (96, 384, 1): {
        64: ("merged", "merged", "merged"),
        512: ("merged", "merged", "merged"),
        2048: ("merged", "merged", "merged"),
    },
    (384, 96, 1): {
        64: ("merged", "merged", "merged"),
        512: ("merged", "merged", "dense"),
        2048: ("merged", "merged", "dense"),
    },
    (192, 576, 3): {
        64: ("merged", "merged", "merged"),
        512: ("merged", "merged", "merged"),
        2048: ("merged", "merged", "merged"),
    },
    (192, 192, 1): {
        64: ("merged", "merged", "merged"),
        512: ("merged", "merged", "merged"),
        2048: ("merged", "merged", "dense"),
    },
    (192, 768, 1): {
        64: ("merged", "thin", "thin"),
        512: ("merged", "merged", "merged"),
        2048: ("merged", "merged", "merged"),
    },
    (768, 192, 1): {
        64: ("merged", "merged", "thin"),
        512: ("merged", "merged", "merged"),
        2048: ("merged", "merged", "merged"),
    },
    (384, 1152, 3): {
        64: ("merged", "thin", "thin"),
        512: ("merged", "merged", "merged"),
        2048: ("merged", "merged", "merged"),
    },
    (384, 384, 1): {
        64: ("merged", "merged", "thin"),
        512: ("merged", "merged", "merged"),
        2048: ("merged", "merged", "merged"),
    },
    (384, 1536, 1): {
        64: ("merged", "thin", "thin"),
        512: ("merged", "merged", "merged"),
        2048: ("merged", "merged", "merged"),
    },
    (1536, 384, 1): {
        64: ("thin", "thin", "thin"),
        512: ("merged", "merged", "merged"),
        2048: ("merged", "merged", "merged"),
    },
    (768, 2304, 3): {
        64: ("thin", "thin", "thin"),
        512: ("merged", "merged", "merged"),
        2048: ("merged", "merged", "merged"),
    },
    (768, 768, 1): {
        64: ("thin", "thin", "thin"),
        512: ("merged", "merged", "merged"),
        2048: ("merged", "merged", "merged"),
    },
    (768, 3072, 1): {
        64: ("thin", "thin", "thin"),
        512: ("merged", "merged", "merged"),
        2048: ("merged", "merged", "merged"),
    },
    (3072, 768, 1): {
        64: ("thin", "thin", "thin"),
        512: ("merged", "merged", "merged"),
        2048: ("merged", "merged", "merged"),
    },
}
"""Fastest form by (fan-in, fan-out, parts), by rows, and by rank."""


def fastest_form(shape: LayerShape) -> Form:
    """Return the form that was the fastest for the nearest shape of the table.

    The distance is that of the logarithms: first of the layer, then of the rows, then of the rank.
    """
    layer = min(FASTEST, key=lambda known: _distance(known, shape[:3]))
    by_rows = FASTEST[layer]
    rows = min(by_rows, key=lambda known: _distance((known,), (max(shape.rows, 1),)))
    rank = min(range(len(RANKS)), key=lambda i: _distance((RANKS[i],), (max(shape.rank, 1),)))
    return by_rows[rows][rank]


def _distance(known: tuple[int, ...], shape: tuple[int, ...]) -> float:
    return sum(abs(math.log(a / b)) for a, b in zip(known, shape, strict=True))
