"""The sweep file of a path loads, plans exactly the path, and shares its trials with the sweep."""

from __future__ import annotations

import json

import pytest
import yaml

from sweeps.analysis.effects.paths import smallest_gap
from sweeps.definition import expand, sweep_from_dict
from sweeps.definition.derive.path_sweep import literal, path_document

BASE = {
    "name": "whole",
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"dataset": "digits", "tasks": 5},
    "method": {"kind": "lorac_ipc", "rank": 2},
    "orders": {"design": "random", "count": 2},
    "seeds": [0, 1],
    "baselines": [{"method": {"kind": "nearest_class_mean"}}],
}

SEARCHES = {
    "fields": {
        "search": {
            "method.importance_threshold": [0, 0.2],
            "method.module_weights": ["ones", "learned"],
            "train.lr": [0.001, 0.01],
            "train.grad_clip": [None, 1.0],
        }
    },
    "choices": {
        "method": {},
        "search": {
            "train": [{"lr": 0.005}, {"optimizer": "sgd", "lr": 0.1, "label": "sgd"}],
            "method": [
                {
                    "kind": "lorac_ipc",
                    "search": {"importance_threshold": [0, 0.2], "rank": [2, 4]},
                },
                {"kind": "lora_sequential", "search": {"rank": [2, 4]}},
            ],
        },
    },
    "parts": {
        "search": {"method.rank": [2, 4]},
        "ablation": {
            "plan": "factorial",
            "parts": {
                "clipping": {"on": {"train.grad_clip": 1.0}, "off": {"train.grad_clip": None}},
                "freezing": {
                    "on": {"method.importance_threshold": 0.2},
                    "off": {"method.importance_threshold": 0},
                },
                "slowly": {"on": {"train.lr": 0.001}, "off": {"train.lr": 0.01}},
            },
        },
    },
}


@pytest.mark.parametrize("changes", SEARCHES.values(), ids=list(SEARCHES))
def test_the_document_plans_exactly_the_settings_of_the_path(changes):
    sweep = sweep_from_dict(BASE | changes)
    points = {c.run.config_id: c.factors for c in sweep.configurations if c.role == "search"}
    ids = list(points)
    ends = (ids[0], ids[-1])
    if "method" in changes["search"]:  # two methods differ in more than one step can change
        ends = (ids[0], next(i for i in ids[::-1] if points[i]["method"] == "lorac_ipc"))
    if "ablation" in changes:  # one part stays as it is
        same = {"part.slowly": points[ids[0]]["part.slowly"], "method.rank": 4}
        same |= {"part.clipping": "off", "part.freezing": "off"}
        ends = (ids[0], next(i for i in ids if points[i] == same))
    lacking = smallest_gap({end: points[end] for end in ends}, *ends)
    assert len(lacking.missing) >= 1
    document = path_document(
        sweep,
        "whole-path",
        lacking.points,
        [(change.path, change.before, change.after) for change in lacking.changes],
    )
    assert yaml.safe_load(yaml.safe_dump(document)) == document
    narrowed = sweep_from_dict(document)
    trials = expand(narrowed)
    assert {t.trial_id for t in trials} < {t.trial_id for t in expand(sweep)}
    found = {t.config_id: t.factors for t in trials}
    assert len(found) == len(lacking.points)
    assert set(ends) <= set(found)
    texts = {json.dumps(point, sort_keys=True) for point in found.values()}
    again = smallest_gap(found, *ends)
    assert again.missing == ()
    assert len(texts) == len(lacking.points)


def test_values_are_spelt_as_conditions_read_them():
    assert [literal(v) for v in (None, True, 0.2, 4.0, "it's", [1, None])] == [
        "null",
        "true",
        "0.2",
        "4",
        '"it\'s"',
        "[1, null]",
    ]
