"""`extends`: what a sweep takes from another file, what it replaces, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from clmethods.config import InvalidConfigError
from sweeps.definition import Sweep, expand, load_sweep, sweep_from_dict

BASE: dict[str, Any] = {
    "name": "base",
    "backbone": {"name": "tiny_vit8", "weights": "random", "image_size": 8},
    "stream": {"tasks": 3},
    "method": {"rank": 2, "lora_alpha": 2},
    "search": {"method.importance_threshold": [0, 0.1], "train.lr": [0.1, 0.01]},
    "orders": {"design": "random", "count": 2},
    "seeds": [0, 1],
}
GRID = {"replicates": {"kind": "grid"}}
"""The study has ten pairs, for which the two orders are too few."""
Writer = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """Writes a YAML file of the given fields."""

    def written(file: str, /, **fields: Any) -> Path:
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(fields, sort_keys=False), encoding="utf-8")
        return path

    return written


def child(write: Writer, **fields: Any) -> Sweep:
    write("base.yaml", **BASE)
    return load_sweep(write("child.yaml", name="child", extends="base.yaml", **fields))


def refusal(write: Writer, **fields: Any) -> dict[str, str]:
    with pytest.raises(InvalidConfigError) as refused:
        child(write, **fields)
    return {issue.path: str(issue) for issue in refused.value.issues}


def test_sections_merge_field_by_field_axes_by_name_and_the_rest_is_replaced(
    write: Writer,
) -> None:
    sweep = child(
        write,
        method={"rank": 3},
        search={"train.lr": [0.5], "method.module_weights": ["ones", "learned"]},
        orders={"design": "identity"},
    )
    assert sweep == sweep_from_dict(sweep.document)
    merged = {key: value for key, value in sweep.document.items() if key != "merged_from"}
    assert merged == {
        "name": "child",
        "backbone": BASE["backbone"],
        "stream": BASE["stream"],
        "method": {"rank": 3, "lora_alpha": 2},
        "search": {
            "method.importance_threshold": [0, 0.1],
            "train.lr": [0.5],
            "method.module_weights": ["ones", "learned"],
        },
        "orders": {"design": "identity"},
        "seeds": [0, 1],
    }
    assert expand(sweep) == expand(sweep_from_dict(merged))


def test_an_axis_that_is_null_is_dropped(write: Writer) -> None:
    sweep = child(write, train={"lr": 1}, search={"train.lr": None})
    assert [axis.path for axis in sweep.axes] == ["method.importance_threshold"]
    assert sweep.base.train.lr == 1.0


def test_another_kind_of_method_replaces_the_section(write: Writer) -> None:
    search = {"method.importance_threshold": None}
    sweep = child(write, method={"kind": "lora_sequential"}, search=search)
    assert sweep.document["method"] == {"kind": "lora_sequential"}


def test_the_document_says_what_was_merged(write: Writer) -> None:
    write("far/far.yaml", **BASE | {"extends": "digits_demo", "seeds": [5], **GRID})
    write("near.yaml", extends="far/far.yaml", method={"rank": 3})
    sweep = load_sweep(write("own.yaml", name="own", extends="near.yaml", seeds=[1]))
    layers = {layer["source"]: layer for layer in sweep.document["merged_from"]}
    assert list(layers) == ["digits_demo", "far/far.yaml", "near.yaml"]
    assert layers["near.yaml"]["fields"] == ["method.rank"]
    assert "stream.dataset" in layers["digits_demo"]["fields"]
    assert "method.lora_alpha" in layers["far/far.yaml"]["fields"]
    assert all(len(layer["sha256"]) == 64 for layer in layers.values())
    assert not any("seeds" in layer["fields"] for layer in layers.values())
    assert "extends" not in sweep.document


def test_a_name_is_not_inherited(write: Writer) -> None:
    write("base.yaml", **BASE)
    with pytest.raises(InvalidConfigError, match=r"name: got ''.*used for the folder"):
        load_sweep(write("child.yaml", extends="base.yaml"))


def test_a_missing_file_is_named_with_the_chain(write: Writer) -> None:
    with pytest.raises(InvalidConfigError, match=r"extends: got 'digits_dem', .*'digits_demo'"):
        load_sweep(write("child.yaml", name="c", extends="digits_dem"))
    write("middle.yaml", extends="gone.yaml")
    with pytest.raises(InvalidConfigError) as refused:
        load_sweep(write("child.yaml", name="c", extends="middle.yaml"))
    message = str(refused.value)
    assert "extends: got 'gone.yaml', allowed: the path of a .yaml file that exists" in message
    assert "The chain is: this file -> middle.yaml -> gone.yaml." in message


def test_a_cycle_is_named_with_the_chain(write: Writer) -> None:
    write("a.yaml", extends="b.yaml")
    write("b.yaml", extends="a.yaml")
    with pytest.raises(InvalidConfigError) as refused:
        load_sweep(write("own.yaml", name="own", extends="a.yaml"))
    assert "this file -> a.yaml -> b.yaml -> a.yaml" in str(refused.value)


def test_a_file_that_extends_itself_is_refused(write: Writer) -> None:
    with pytest.raises(InvalidConfigError, match=r"this file -> own\.yaml -> own\.yaml"):
        load_sweep(write("own.yaml", name="own", extends="own.yaml"))


def test_yaml_that_does_not_parse_is_named_with_the_chain(write: Writer, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("method: {rank: 4\n", encoding="utf-8")
    with pytest.raises(InvalidConfigError, match=r"line .*this file -> broken\.yaml"):
        load_sweep(write("own.yaml", name="own", extends="broken.yaml"))


def test_an_issue_is_reported_with_its_file(write: Writer) -> None:
    write("odd.yaml", **BASE | {"train": {"lr": -1, "epochs": -1}, "sedes": [1], "seeds": [0, 0]})
    own = write("own.yaml", name="own", extends="odd.yaml", train={"epochs": -2})
    with pytest.raises(InvalidConfigError) as refused:
        load_sweep(own)
    issues = {issue.path: issue.hint for issue in refused.value.issues}
    assert set(issues) == {"train.lr", "train.epochs", "sedes", "seeds[1]"}
    assert [path for path in issues if "It comes from odd.yaml." not in issues[path]] == [
        "train.epochs"
    ]


def test_a_field_that_an_inherited_axis_would_override_is_refused(write: Writer) -> None:
    issues = refusal(write, train={"lr": 1})
    assert set(issues) == {"train.lr"}
    assert "Drop the axis with `search: {train.lr: null}`." in issues["train.lr"]


def test_what_is_no_name_is_refused(write: Writer) -> None:
    with pytest.raises(InvalidConfigError, match="extends: got 3, allowed: text, or null"):
        load_sweep(write("own.yaml", name="own", extends=3))
    write("list.yaml").write_text("- 1\n", encoding="utf-8")
    with pytest.raises(InvalidConfigError, match=r"extends: got .list\.yaml., .*a mapping"):
        load_sweep(write("own.yaml", name="own", extends="list.yaml"))
