"""Sweep files: what is accepted, and how everything else is refused, all at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import sweeps
from clmethods.config import InvalidConfigError, LoracIpcConfig, ReadoutConfig, TrainConfig
from sweeps.definition import expand, load_sweep, sweep_from_dict

TINY = {"name": "tiny_vit8", "weights": "random", "image_size": 8}


def sweep_of(**fields: Any) -> dict[str, Any]:
    return {"name": "test", "backbone": TINY, **fields}


def faults_of(**fields: Any) -> dict[str, str]:
    """Message by key path of everything that is wrong."""
    with pytest.raises(InvalidConfigError) as refused:
        sweep_from_dict(sweep_of(**fields))
    return {issue.path: str(issue) for issue in refused.value.issues}


def test_a_file_and_its_dict_make_the_same_sweep(tmp_path: Path) -> None:
    data = sweep_of(
        search={"method.rank": [2, 4]},
        orders={"design": "williams"},
        seeds=[0, 3],
        train={"lr": 1},
    )
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    sweep = load_sweep(path)
    assert sweep == sweep_from_dict(data)
    assert sweep == sweep_from_dict(sweep.document)


def test_defaults_are_the_ones_promised() -> None:
    sweep = sweep_from_dict(sweep_of())
    assert sweep.readouts == (ReadoutConfig(routing="last"),)
    assert sweep.objectives == {"average_accuracy": "max", "forgetting": "min"}
    assert sweep.resources.gpu == 0.0
    assert [c.label for c in sweep.configurations] == ["lorac_ipc"]


def test_sections_may_be_the_dataclasses_themselves() -> None:
    written = sweep_from_dict(sweep_of(method={"rank": 2}, train={"epochs": 1}))
    built = sweep_from_dict(
        sweep_of(
            method=LoracIpcConfig(rank=2),
            train=TrainConfig(epochs=1),
            readouts=(ReadoutConfig(),),
        )
    )
    assert expand(written) == expand(built)


@pytest.mark.parametrize(
    ("fields", "path", "message"),
    [
        ({"nmae": 1}, "nmae", "Did you mean 'name'?"),
        ({"name": "a b"}, "name", "letters, digits, - and _"),
        ({"method": {"kind": "lora_ipc"}}, "method.kind", "Did you mean 'lorac_ipc'?"),
        ({"method": {"rnak": 3}}, "method.rnak", "Did you mean 'rank'?"),
        ({"method": {"rank": 0}}, "method.rank", "got 0, allowed: 1 or more"),
        (
            {"method": {"importance_threshold": 1.5}},
            "method.importance_threshold",
            "got 1.5, allowed: from 0 to 1. It is a fraction of the matrices, not a score.",
        ),
        ({"stream": {"tasks": 11}}, "stream.tasks", "1 to 10, the number of classes of digits"),
        ({"stream": {"task_order": [1, 0]}}, "stream.task_order", "come from `orders`"),
        (
            {"orders": {"design": "explicit", "list": [[0, 1, 2, 3, 3]]}},
            "orders.list[0]",
            "a permutation of 0..4, each task once",
        ),
        ({"orders": {"design": "random", "count": 121}}, "orders.count", "1 to 120"),
        ({"orders": {"design": "wiliams"}}, "orders.design", "Did you mean 'williams'?"),
        ({"seeds": []}, "seeds", "one or more whole numbers"),
        ({"seeds": [0, 1, 0]}, "seeds[2]", "each seed once"),
        ({"readouts": [{"routing": "last"}] * 2}, "readouts[1]", "each readout once"),
        ({"readouts": [{"routing": "lst"}]}, "readouts[0].routing", "Did you mean 'last'?"),
        (
            {"readouts": [{"tap": True, "tap_epochs": 0}, {}]},
            "readouts[1]",
            "got 'last', allowed: each readout once",
        ),
        (
            {"readouts": [{"routing": "instance", "clusters": 2}]},
            "readouts[0].clusters",
            "to be left out unless metric is one of",
        ),
        (
            {
                "method": {"kind": "sequential_finetuning", "head_loss": "global"},
                "readouts": [{"routing": "last"}, {"tap": True, "tap_restore": False}],
            },
            "readouts[1].tap_restore",
            "true for sequential_finetuning on this stream. Its training uses head rows",
        ),
        (
            {"method": {"kind": "nearest_class_mean"}, "readouts": [{"tap": True}]},
            "readouts[0].tap",
            "false for nearest_class_mean",
        ),
        ({"objectives": {"intransigence": "min"}}, "objectives.intransigence", "one of ['ave"),
        ({"objectives": {"acuracy": "max"}}, "objectives.acuracy", "one of ['average_accuracy'"),
        ({"objectives": {"bwt": "up"}}, "objectives.bwt", "one of ['max', 'min']"),
        ({"algorithm": {"kind": "sobol"}}, "algorithm.trials", "Set the number of"),
        ({"resources": {"gpu": 1.5}}, "resources.gpu", "0 to 1, or a whole number"),
        ({"train": {"device": "cuda"}}, "resources.gpu", "as train.device is cuda"),
        ({"train": {"lr": float("inf")}}, "train.lr", "a finite number"),
        ({"search": {"method.rank": [4, 2, 0]}}, "search.method.rank[2]", "got 0, allowed: 1 or"),
        ({"search": {"method.rank": [4, 4]}}, "search.method.rank[1]", "each value once"),
        ({"search": {"train.lr": [1, 1.0]}}, "search.train.lr[1]", "each value once"),
        ({"search": {"method.rnak": [4]}}, "search.method.rnak", "Did you mean 'method.rank'?"),
        ({"search": {"rank": [4]}}, "search.rank", "Did you mean 'method.rank'?"),
        ({"search": {"seed": [4]}}, "search.seed", "Seeds come from `seeds`."),
        ({"search": {"stream.task_order": [[0]]}}, "search.stream.task_order", "from `orders`"),
        ({"search": {"method.kind": ["x"]}}, "search.method.kind", "under `baselines`"),
        ({"search": {"method": {"rank": [1]}}}, "search.method", "Write out the path"),
        ({"search": {"method.sites": [["q", "z"]]}}, "search.method.sites[0][1]", "got 'z'"),
        (
            {"search": {"method.ipc_beta2": [0.5, 0.99]}},
            "search.method.ipc_beta2[1]",
            "a value that fits the rest of the run. method.ipc_window: got 300",
        ),
        (
            {
                "search": {"method.rank": {"uniform": [1, 4]}},
                "algorithm": {"kind": "random", "trials": 2},
            },
            "search.method.rank.uniform[0]",
            "Use `integer` for this axis.",
        ),
        (
            {"search": {"stream.tasks": [2, 3]}, "orders": {"design": "random", "count": 3}},
            "orders.count",
            "1 to 2, the number of orders of 2 tasks",
        ),
        ({"baselines": [{}, {"method": {"kind": "x"}}]}, "baselines[1].method.kind", "got 'x'"),
        ({"baselines": [{"train": {"epochs": -1}}]}, "baselines[0].train.epochs", "0 or more"),
        ({"baselines": [{"seed": 1}]}, "baselines[0].seed", "one of the fields"),
        (
            {"baselines": [{}, {"train": {"lr": 1}, "label": "lorac_ipc"}]},
            "baselines[1].label",
            "",
        ),
        (
            {"method": {"kind": "lora_sequential"}, "readouts": [{"routing": "instance"}]},
            "readouts[0].routing",
            "one of ['last'], the routings of lora_sequential",
        ),
    ],
)
def test_a_single_issue_is_named_with_path_value_and_constraint(
    fields: dict[str, Any], path: str, message: str
) -> None:
    issues = faults_of(**fields)
    assert set(issues) >= {path}
    assert all(found == path or found.startswith(path[:-3]) for found in issues)
    assert message in issues[path]


def test_all_faults_come_in_one_error() -> None:
    issues = faults_of(
        name="no spaces please",
        sedes=[1],
        stream={"validation_fraction": 1},
        method={"rank": 0, "importance_threshold": 2},
        train={"lr": "fast", "epochs": -1},
        search={"method.lora_alpha": [1, 0], "method.dpeth": [1]},
        baselines=[{"method": {"kind": "unknown"}}, 3],
        orders={"design": "explicit", "list": [[0, 1, 2, 3, 4], [0, 0, 1, 2, 3]]},
        objectives={"forgetting": "down"},
        algorithm={"kind": "annealing"},
    )
    assert set(issues) == {
        "name",
        "sedes",
        "stream.validation_fraction",
        "method.rank",
        "method.importance_threshold",
        "train.lr",
        "train.epochs",
        "search.method.lora_alpha[1]",
        "search.method.dpeth",
        "baselines[0].method.kind",
        "baselines[1]",
        "objectives.forgetting",
        "algorithm.kind",
        "orders.list[1]",
    }


def test_orders_are_not_judged_while_the_number_of_tasks_is_in_doubt() -> None:
    issues = faults_of(
        stream={"tasks": 11},
        orders={"design": "explicit", "list": [[1, 0]]},
        search={"train.lr": [1, 2]},
    )
    assert set(issues) == {"stream.tasks"}


def test_an_issue_of_the_base_is_reported_once() -> None:
    issues = faults_of(
        method={"rank": 0},
        search={"method.lora_alpha": [1, 2], "method.depth": [0, 1]},
        baselines=[{"train": {"lr": 1}}, {"method": {"kind": "lora_sequential"}}],
    )
    assert set(issues) == {"method.rank"}


def test_an_unknown_method_says_nothing_about_axes_over_its_fields() -> None:
    issues = faults_of(method={"kind": "mystery"}, search={"method.secret": [1], "train.lr": [0]})
    assert set(issues) == {"method.kind", "search.train.lr[0]"}


def test_values_that_are_valid_alone_may_violate_a_constraint_together() -> None:
    issues = faults_of(search={"method.ipc_beta1": [0.5, 0.95], "method.ipc_window": [300, 100]})
    assert set(issues) == {"search"}
    assert "'method.ipc_beta1': 0.95" in issues["search"]
    assert "values that fit together. method.ipc_window: got 100" in issues["search"]


def test_a_constraint_across_sections_is_an_issue_like_others() -> None:
    crowded = {"ortho_mode": "project", "rank": 8}  # 5 tasks of rank 8 in matrices of width 16
    issues = faults_of(method=crowded, train={"lr": 0}, search={"method.depth": [1, -1]})
    assert set(issues) == {"method.rank", "train.lr", "search.method.depth[1]"}
    assert "at most 3 with ortho_mode: project" in issues["method.rank"]
    search = {"method.ortho_mode": ["gram", "project"], "method.rank": [2, 8]}
    issues = faults_of(method={"rank": 2}, search=search)
    assert set(issues) == {"search"}
    where = ["method.ortho_mode != 'project' or method.rank * stream.tasks <= 16"]
    sweep = sweep_from_dict(sweep_of(method={"rank": 2}, search=search, where=where))
    assert len(sweep.configurations) == 3


def test_repeated_keys_are_reported_beside_other_faults(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("name: a\nname: b\ntrain: {lr: 0}\nbackbone: {weights: random}\n")
    with pytest.raises(InvalidConfigError) as refused:
        load_sweep(path)
    assert [issue.path for issue in refused.value.issues] == ["name", "train.lr"]


def test_what_is_no_mapping_is_no_sweep(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("- name: a\n", encoding="utf-8")
    with pytest.raises(InvalidConfigError, match=r"sweep: got .* allowed: a mapping of fields"):
        load_sweep(path)


def test_weights_that_are_missing_are_named_wherever_they_are_asked_for(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.safetensors")
    issues = faults_of(
        search={"backbone.weights": ["random", gone]},
        baselines=[{"backbone": {"weights": gone}}],
    )
    assert set(issues) == {"search.backbone.weights[1]", "baselines[0].backbone.weights"}
    assert f"No file at {gone}." in issues["search.backbone.weights[1]"]
    assert set(faults_of(backbone={"weights": gone})) == {"backbone.weights"}
    unshipped = faults_of(backbone={"name": "tiny_vit8"}, search={"train.lr": [1, 2]})
    assert "No weights of 'tiny_vit8' ship with the package." in unshipped["backbone.weights"]


def test_weights_with_another_checksum_are_refused(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"not what was promised")
    issues = faults_of(backbone={"weights": str(weights), "weights_sha256": "0" * 64})
    assert set(issues) == {"backbone.weights"}
    assert "restore the file, or correct weights_sha256" in issues["backbone.weights"]
    sweep = sweep_from_dict(sweep_of(backbone={"weights": str(weights)}))
    assert sweep.base.backbone.weights_sha256 is not None


def test_planning_imports_neither_torch_nor_a_cluster() -> None:
    code = (
        "import sys, sweeps.definition, sweeps.planning.stage_tree\n"
        "heavy = {'torch', 'timm', 'ray', 'scipy', 'pyarrow', 'optuna'}\n"
        "found = heavy & {*sys.modules}\n"
        "sys.exit(f'imported {found}' if found else 0)\n"
    )
    root = Path(sweeps.__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("value", [[], {}, 3])
@pytest.mark.parametrize("field", ["dataset", "root", "manifest", "split_file"])
def test_text_fields_of_the_data_with_another_type_are_refused(field: str, value: object) -> None:
    issues = faults_of(stream={field: value})
    assert f"got {value!r}, allowed: text" in issues[f"stream.{field}"]
