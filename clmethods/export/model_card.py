"""Model card of an export: description, loading instructions, metrics and provenance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from clmethods.config import readout_from_dict, run_to_dict, unextended
from clmethods.config.task_contents import stage_title, task_title
from clmethods.export.export_check import PREPROCESS, TIMM_TRANSFORM
from clmethods.export.finished_chain import FinishedChain
from clmethods.export.timm_folder import recipe
from clmethods.metrics import METRICS
from clmethods.strict_yaml import yaml_text

WEIGHTS_LICENSES = {"nano_vit32": "apache-2.0"}
"""Licenses of the weights that are shipped with the package."""
UNKNOWN = "unknown"


def model_card(document: Mapping[str, Any], chain: FinishedChain, license: str | None) -> str:
    """Return the card as Markdown with the front matter of model hubs."""
    run = chain.run
    shipped = (
        WEIGHTS_LICENSES.get(run.backbone.name) if run.backbone.weights == "shipped" else None
    )
    known = license or shipped
    front = {
        "library_name": "timm" if "timm" in document["checks"] else "peft",
        "pipeline_tag": "image-classification",
        "license": known or UNKNOWN,
        "tags": ["continual-learning", "image-classification", "timm", run.method.kind],
    }
    sections = [
        "---\n" + yaml_text(front) + "---",
        _title(document, chain),
        _loading(document, chain),
        _classes(document, chain),
        _metrics(document, chain),
        _use(document),
        _provenance(document, chain, known),
        _configuration(chain),
    ]
    return "\n\n".join(sections) + "\n"


def _title(document: Mapping[str, Any], chain: FinishedChain) -> str:
    run = chain.run
    tasks = len(chain.archive.chain)
    how = (
        "every image is classified by the snapshot of its inferred task"
        if document["routed"]
        else "every image is classified by the network after the last task"
    )
    learned = f"in {tasks} consecutive tasks" if tasks > 1 else "in one task"
    return (
        f"# {run.method.kind} on {run.backbone.name}: {len(document['classes'])} classes\n\n"
        f"A Vision Transformer that learned the classes of `{run.stream.dataset}` {learned}, by "
        f"`clmethods`. Readout `{readout_from_dict(document['readout']).readout_id}`: {how}."
    )


def _loading(document: Mapping[str, Any], chain: FinishedChain) -> str:
    architecture, arguments = recipe(chain.backbone)
    arguments = arguments | {"num_classes": len(document["classes"])}
    shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    create = f'timm.create_model("{architecture}", {shown}, checkpoint_path="{{}}")'
    lines = ["## How to load it", ""]
    if "timm" in document["checks"]:
        lines += [
            "With timm:",
            "",
            "```python",
            "import timm",
            "",
            f"model = {create.format('timm/model.safetensors')}.eval()",
            "```",
            "",
            'Newer versions of timm also support `timm.create_model("local-dir:timm", '
            "pretrained=True)`.",
            "",
        ]
    if "peft" in document["checks"] or document["routed"]:
        adapter = "snapshots/0" if document["routed"] else "peft"
        lines += [
            "With PEFT, which loads the adapter onto the unchanged backbone:",
            "",
            "```python",
            "import timm",
            "from peft import PeftModel",
            "",
            f"base = {create.format('base/model.safetensors')}",
            f'model = PeftModel.from_pretrained(base, "{adapter}").eval()',
            "```",
            "",
            "`base/` is the backbone with a zero head; the adapter contains the head"
            + (", and there is an adapter per task." if document["routed"] else "."),
            "",
        ]
    lines += [
        "With `clmethods`, which does not require PEFT"
        + (" and routes every image:" if document["routed"] else ":"),
        "",
        "```python",
        "import clmethods",
        "",
        'for row in clmethods.load(".").predict(["photo.jpg"]):',
        "    print(row.image, row.class_name, row.probability, row.task)",
        "```",
        "",
        "`clmethods predict . photo.jpg -o predictions.csv` writes the same to a file.",
        "",
        f"Images are {chain.run.backbone.image_size} pixels square, scaled to [0, 1] and "
        "normalized with `mean` and `std` in `config.json`; grayscale images are "
        "repeated over three channels.",
        "",
        *_preprocessing(document, chain),
    ]
    if document["cosine"]:
        lines += [
            "",
            "The head contains normalized class means and no bias: its logits are cosines times "
            "the norm of the feature, so the predicted class equals that of the method.",
        ]
    return "\n".join(lines)


def _preprocessing(document: Mapping[str, Any], chain: FinishedChain) -> list[str]:
    resizings = chain.resizings
    how = {
        "stretch": "stretched to a square",
        "crop": "resized by their shorter side and cropped at the center (7/8 of that side)",
    }
    folder = "timm" if "timm" in document["checks"] else "base"
    lines = [
        f"Image files of any size are {how[resizings[0]]}, by bicubic interpolation of Pillow. "
        "This code gives the pixels of training and evaluation:",
        "",
        "```python",
        "import json",
        "from pathlib import Path",
        "",
        "from preprocess import open_image, preprocess",
        "",
        f'config = json.loads(Path("{folder}/config.json").read_text())',
        'batch = preprocess(open_image("photo.jpg"), config)[None]  # input of the model',
        "```",
        "",
        "`timm.data.create_transform` with `pretrained_cfg` of the same file "
        + (
            "resizes in the same way."
            if resizings[0] == "stretch"
            else "truncates the longer side of the resized image instead of rounding it, so that "
            "the pixels of some images that are not square differ."
        ),
    ]
    if len(resizings) > 1:
        lines[0] += (
            f" Images of a task that was added later were {how[resizings[1]]} instead, and are "
            "not preprocessed exactly."
        )
    checks = {name: document["checks"].get(name) for name in (TIMM_TRANSFORM, PREPROCESS)}
    measured = [
        f"with {name}, {check['equal']} of {check['images']} predictions equal those of "
        f"`clmethods evaluate`, and a pixel differs by {check['pixel_difference']:g} of 255 on "
        "average"
        for name, check in checks.items()
        if check is not None
    ]
    if measured:
        lines += ["", f"Measured on test images before resizing: {'; '.join(measured)}."]
    if checks[PREPROCESS] is not None and checks[PREPROCESS]["pixel_difference"] > 0:
        lines[-1] += (
            " The remaining difference is that of small images, which are cropped before they are "
            "enlarged."
        )
    return lines


def _classes(document: Mapping[str, Any], chain: FinishedChain) -> str:
    stream = chain.run.stream
    rows = {str(row): label for row, label in enumerate(document["classes"])}
    text = (
        "## Classes\n\nRow of the head, and the original class id in "
        f"`{stream.dataset}`:\n\n```json\n{json.dumps(rows)}\n```\n\n"
        "Class ids by task, in the order learned; tasks and classes are counted from 0:\n\n"
        "| task | class ids | classes |\n|---|---|---|\n"
    )
    text += "\n".join(
        f"| {_cell(task_title(group))} | {', '.join(map(str, group.classes))} | "
        f"{_cell(', '.join(stream.names_of(group.classes)))} |"
        for group in stream.sequence()
    )
    if stream.facts.class_names:
        names = dict(zip(document["classes"], document["class_names"], strict=True))
        shown = json.dumps(names, ensure_ascii=False)
        text += f"\n\nNames by class id:\n\n```json\n{shown}\n```"
    first = len(stream.groups()) - len(document["added"])
    for index, added in enumerate(document["added"], start=first):
        text += (
            f"\n\nThe classes of task {index}, which was added later, are classes "
            f"{added['classes']} of `{added['dataset']}`."
        )
    return text


def _metrics(document: Mapping[str, Any], chain: FinishedChain) -> str:
    readout = readout_from_dict(document["readout"]).readout_id
    titles = [task_title(group) for group in chain.run.stream.sequence()]
    learned = [stage_title(stage.groups) for stage in chain.archive.chain]
    lines = ["## Metrics", "", "Accuracies in percent of the images, tasks in the order learned."]
    for split in ("test", "validation"):
        result = document["metrics"].get(split, {}).get(readout)
        if result is None:
            continue
        head = "".join(f" {_cell(title)} |" for title in titles)
        lines += ["", f"{split.capitalize()} images:", ""]
        lines += [f"| after |{head}", "|---|" + "---:|" * len(titles)]
        for title, row in zip(learned, result["accuracy"], strict=True):
            lines.append(f"| {_cell(title)} |" + "".join(f" {_percent(a)} |" for a in row))
        lines += ["", "| metric | percent | |", "|---|---:|---|"]
        lines += [
            f"| {name} | {_percent(result[name])} | {metric.definition} |"
            for name, metric in METRICS.items()
            if name in result  # models of earlier versions lack newer metrics
        ]
    return "\n".join([*lines, "", _agreement(document)])


def _agreement(document: Mapping[str, Any]) -> str:
    checks = {
        name: check
        for name, check in document["checks"].items()
        if isinstance(check, dict) and "logit_difference" in check
    }
    parts = [f"{name} {check['logit_difference']:.1g}" for name, check in checks.items()]
    text = (
        f"Compared with the model on {document['checks']['images']}, the largest difference of a "
        f"logit is: {', '.join(parts)}."
    )
    worst = max(
        (e for c in checks.values() for e in c.get("update_error", {}).values()), default=0
    )
    if worst:
        text += (
            f" Ranks were cut: up to {100 * worst:.2g} % of the update of a layer is missing "
            "(Frobenius norm), and the metrics above are those of the uncut model."
        )
    return text


def _use(document: Mapping[str, Any]) -> str:
    classes = len(document["classes"])
    return (
        "## Intended use\n\n"
        "Classification of images like those of its tasks, and research on continual learning. "
        f"The model assigns every image to one of its {classes} classes, including images of "
        "other classes; its scores are not calibrated. Accuracy may be lower on classes of early "
        "tasks than on those of late tasks: see the last row above."
    )


def _provenance(document: Mapping[str, Any], chain: FinishedChain, license: str | None) -> str:
    backbone = chain.run.backbone
    drawn = backbone.weights == "random"
    weights = "random weights" if drawn else f"weights SHA-256 {backbone.weights_sha256}"
    terms = "none (random)" if drawn else f"{UNKNOWN}: see the source of the file"
    costs = document["trained_by"]
    hosts = sorted({str(cost["host_kind"]) for cost in costs if "host_kind" in cost})
    codes = sorted({str(cost["code_version"]) for cost in costs if "code_version" in cost})
    seconds = sum(float(cost.get("wall_s", 0.0)) for cost in costs)
    rows = [
        ("backbone", f"{backbone.name}, {weights}"),
        ("license of the weights", license or terms),
        ("training data", f"{chain.run.stream.dataset}, under the terms of its source"),
        (
            "trained by",
            f"clmethods {', '.join(codes) or UNKNOWN}, on {', '.join(hosts) or UNKNOWN}",
        ),
        ("training time", f"{seconds:.1f} s"),
        ("exported by", f"clmethods {document['code_version']}, {_versions(document)}"),
        ("stage keys", ", ".join(f"`{key[:12]}`" for key in document["stages"])),
    ]
    table = "\n".join(f"| {name} | {text} |" for name, text in rows)
    return f"## Provenance\n\n| | |\n|---|---|\n{table}"


def _configuration(chain: FinishedChain) -> str:
    run = run_to_dict(unextended(chain.archive.run)[0])
    run["backbone"].pop("weights")  # a local path
    shown = yaml_text(json.loads(json.dumps(run)))
    return f"## Configuration\n\n```yaml\n{shown}```"


def _versions(document: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in document["versions"].items())


def _cell(text: str) -> str:
    """Return a text that does not end a cell of a table."""
    return text.replace("|", "\\|")


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
