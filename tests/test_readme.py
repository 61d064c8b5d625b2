"""The README is true: its sweep file loads, its commands exist, its targets are there."""

from __future__ import annotations

import re
from pathlib import Path

import click
import yaml

from clmethods.cli import main as clmethods_command
from clmethods.config import METHOD_CONFIGS
from sweeps.cli import main as sweeps_command
from sweeps.definition import expand, load_sweep, sweep_from_dict

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_sweep_file_in_the_readme_can_be_planned() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    trials = expand(sweep_from_dict(yaml.safe_load(block)))
    # 3 thresholds x 2 weights, 10 Williams orders, 3 seeds; one baseline does not see the order
    assert len(trials) == 6 * 10 * 3 + 10 * 3 + 3


def test_the_sweep_file_in_the_readme_of_sweeps_can_be_planned(tmp_path: Path) -> None:
    text = (ROOT / "sweeps" / "README.md").read_text(encoding="utf-8")
    block, *_ = re.findall(r"```yaml\n(extends:.*?)```", text, flags=re.DOTALL)
    (tmp_path / "my.yaml").write_text(block, encoding="utf-8")
    sweep = load_sweep(tmp_path / "my.yaml")
    assert sweep.document["merged_from"][0]["source"] == "digits_demo"
    assert any(c.parts == {"clipping": "off"} for c in sweep.configurations)


def test_the_storage_section_in_the_readme_of_sweeps_is_understood() -> None:
    text = (ROOT / "sweeps" / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(storage:\n.*?)```", text, flags=re.DOTALL)
    sweep = sweep_from_dict({"name": "a", "extends": "digits_demo", **yaml.safe_load(block)})
    assert sweep.storage.endpoint == "https://s3.example.org:9000"
    assert sweep.storage.retry_for_s == 600


def test_the_task_orders_in_the_readme_of_sweeps_can_be_planned() -> None:
    text = (ROOT / "sweeps" / "README.md").read_text(encoding="utf-8")
    block = re.findall(r"```yaml\n(orders:\n.*?)```", text, flags=re.DOTALL)[0]
    sweep = sweep_from_dict({"name": "a", "extends": "digits_demo", **yaml.safe_load(block)})
    orders = sweep.orders_for(sweep.base)
    assert len(orders) == 6
    assert all(order[0] == 3 and order.index(2) < order.index(4) for order in orders)


def test_every_command_in_the_readme_exists() -> None:
    named = set(re.findall(r"^\| `(sweeps|clmethods) (\w+)", README, flags=re.MULTILINE))
    listed = sweeps_command.list_commands(click.Context(sweeps_command))
    there = {("sweeps", name) for name in listed}
    there |= {("clmethods", name) for name in clmethods_command.commands}
    assert named == there


def test_every_make_target_in_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake ([a-z-]+)", README))
    assert named
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in named)


def test_every_linked_file_exists() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert all((ROOT / link).is_file() for link in links)


def test_every_method_is_in_the_table_of_clmethods() -> None:
    text = (ROOT / "clmethods" / "README.md").read_text(encoding="utf-8")
    section = text.split("\n## The methods\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]*) \|", section, flags=re.MULTILINE)
    named = [kind for cell in cells for kind in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(METHOD_CONFIGS)
