"""Examples of the right form of the sections of a sweep file, for messages."""

from __future__ import annotations

EXAMPLES = {
    "backbone": "{name: nano_vit32, weights: shipped, image_size: 16}",
    "baselines": "[{method: {kind: nearest_class_mean}}]",
    "method": "{kind: lorac_ipc, rank: 4}",
    "objectives": "{average_accuracy: max, forgetting: min}",
    "orders": "{design: random, count: 5}",
    "readouts": "[{routing: last}, {routing: instance}]",
    "replicates": "{kind: spread, runs: 3}",
    "resources": "{gpu: 0}",
    "search": "{method.importance_threshold: [0, 0.05, 0.2]}",
    "seeds": "[0, 1, 2]",
    "stream": "{dataset: digits, tasks: 5}",
    "train": "{epochs: 5, lr: 0.005}",
}
"""Value of a field by its path; tests load each of them."""


def example_of(path: str) -> str:
    """Return a sentence with an example of a field; empty if there is none."""
    if path not in EXAMPLES:
        return ""
    return f"Example: `{path.rpartition('.')[2]}: {EXAMPLES[path]}`."
