"""Invalid sweep files: each is rejected with path, value, constraint and hint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import Result

Command = Callable[..., Result]

HEAD = """\
name: bad
backbone: {name: tiny_vit8, weights: random, image_size: 8}
stream: {tasks: 3}
"""

BAD = {
    "an axis of a section that is no list": (
        "search: {method: {kind: lorac_ipc}}",
        ["search.method: got", "a list of choices of the section", "Write out the path"],
    ),
    "a choice that is no mapping": (
        "search: {method: [lorac_ipc]}",
        ["search.method[0]: got 'lorac_ipc', allowed: a mapping of fields"],
    ),
    "a choice of an unknown method": (
        "search: {method: [{kind: lorac_ip}, {kind: nearest_class_mean}]}",
        ["search.method[0].kind: got 'lorac_ip'", "Did you mean 'lorac_ipc'?"],
    ),
    "a choice with a field of another method": (
        "search: {method: [{kind: lora_sequential, ortho_lambda: 1}]}",
        ["search.method[0].ortho_lambda: got 1, allowed: one of the fields"],
    ),
    "a choice with a value out of range": (
        "search: {train: [{lr: 0.1}, {lr: -1}]}",
        ["search.train[1].lr: got -1.0, allowed: greater than 0"],
    ),
    "a choice given twice": (
        "search: {method: [{kind: lorac_ipc}, {kind: lorac_ipc}]}",
        ["search.method[1]: got 'lorac_ipc', allowed: a choice that differs", "Label it."],
    ),
    "a label that is no text": (
        "search: {method: [{kind: lorac_ipc, label: 3}]}",
        ["search.method[0].label: got 3, allowed: text"],
    ),
    "an inner axis over an unknown field": (
        "search: {method: [{kind: lorac_ipc, search: {rnak: [1, 2]}}]}",
        ["search.method[0].search.rnak: got [1, 2]", "Did you mean 'method.rank'?"],
    ),
    "an inner axis with a bad value": (
        "search: {method: [{kind: lorac_ipc, search: {rank: [1, 0]}}]}",
        ["search.method[0].search.rank[1]: got 0, allowed: 1 or more"],
    ),
    "inner axes that are no mapping": (
        "search: {method: [{kind: lorac_ipc, search: [rank]}]}",
        ["search.method[0].search: got ['rank'], allowed: axes by the name of a field"],
    ),
    "a field that a choice sets and an axis varies": (
        "search: {method: [{kind: lorac_ipc, rank: 2}], method.rank: [2, 4]}",
        ["search.method[0].rank: got 2, allowed: to be left out, as `search.method.rank`"],
    ),
    "a field that a choice sets and varies": (
        "search: {method: [{kind: lorac_ipc, rank: 2, search: {rank: [2, 4]}}]}",
        ["search.method[0].rank: got 2, allowed: to be left out"],
    ),
    "an axis over a field of none of the choices": (
        "search: {method: [{kind: lora_sequential}, {}], method.head_loss: [local]}",
        ["search.method.head_loss: got ['local'], allowed: one of the fields"],
    ),
    "a readout that a choice does not have": (
        "search: {method: [{kind: lorac_ipc}, {kind: lora_sequential}]}\n"
        "readouts: [{routing: instance}]",
        ["readouts[0].routing: got 'instance'", "the routings of lora_sequential"],
    ),
    "a condition over an unknown field": (
        "search: {method.rank: [2, 4]}\nwhere: ['method.rnak < 4']",
        ["where[0]: got 'method.rnak < 4'", "Did you mean 'method.rank'?"],
    ),
    "a condition between a number and a text": (
        "search: {method.rank: [2, 4]}\nwhere: [\"method.rank < '4'\"]",
        ["where[0]:", "compares a number with text"],
    ),
    "a condition that is no list": (
        "search: {method.rank: [2, 4]}\nwhere: method.rank < 4",
        ["where: got 'method.rank < 4', allowed: a list"],
    ),
    "a condition that is a number": ("where: [3]", ["where[0]: got 3, allowed: text"]),
    "conditions that remove everything": (
        "search: {method.rank: [2, 4]}\nwhere: [method.rank > 4]",
        ["where: got ['method.rank > 4']", "Of 2 settings where[0] rejects 2."],
    ),
    "a bound that is no share": (
        "search: {method.rank: [2, 4]}\nalgorithm: {kind: random, trials: 2, max_rejected: 1}",
        ["algorithm.max_rejected: got 1.0, allowed: at least 0 and below 1"],
    ),
    "a study that does not exist": (
        "extends: digits_dmeo",
        ["extends: got 'digits_dmeo'", "Did you mean 'digits_demo'?"],
    ),
    "a file that extends itself": (
        "extends: bad.yaml",
        ["extends: got 'bad.yaml'", "this file -> bad.yaml -> bad.yaml"],
    ),
    "a part without an off": (
        "ablation: {plan: factorial, parts: {a: {on: {method.rank: 2}}}}",
        ["ablation.parts.a.off: got {}, allowed: one or more fields"],
    ),
    "a part with a bad value": (
        "ablation: {plan: factorial, parts: {a: {off: {method.rank: 0}}}}",
        ["ablation.parts.a.off.method.rank: got 0, allowed: 1 or more"],
    ),
}


def refused(sweeps_command: Command, tmp_path: Path, text: str) -> str:
    (tmp_path / "bad.yaml").write_text(HEAD + dedent(text) + "\n", encoding="utf-8")
    storage = tmp_path / "storage"
    result = sweeps_command("run", tmp_path / "bad.yaml", "--storage", storage)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert not storage.exists()
    return result.output


@pytest.mark.parametrize(("text", "parts"), BAD.values(), ids=list(BAD))
def test_an_invalid_file_is_refused_with_path_value_constraint_and_hint(
    sweeps_command: Command, tmp_path: Path, text: str, parts: list[str]
) -> None:
    message = refused(sweeps_command, tmp_path, text)
    assert "1 issue," in message
    for part in parts:
        assert part in message


def test_faults_of_every_kind_come_together(sweeps_command: Command, tmp_path: Path) -> None:
    text = """\
    method: {rank: 0}
    search:
      method: [{kind: lorac}, {kind: lorac_ipc, search: {lora_alpha: [0]}}]
      train.lr: [0.1, -1]
    where: ['train.lrr > 1', 'method.rank']
    ablation: {plan: leave_one_out, parts: {a: {off: {method.ortho_mode: nine}}, b: {}}}
    sedes: [1]
    """
    message = refused(sweeps_command, tmp_path, text)
    _, *issues, last = message.splitlines()
    assert last == "exit code 2: an input was refused"
    paths = [line.split(":")[0].strip() for line in issues]
    assert sorted(paths) == [
        "ablation.parts.a.off.method.ortho_mode",
        "ablation.parts.b.off",
        "method.rank",
        "search.method[0].kind",
        "search.method[1].search.lora_alpha[0]",
        "search.train.lr[1]",
        "sedes",
        "where[0]",
        "where[1]",
    ]
