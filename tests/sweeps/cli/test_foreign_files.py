"""Files of other programs in every folder of a storage: no traceback, and the same numbers.

A command ignores such a file or names it in a line of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sweeps.storage import open_storage
from tests.sweeps.cli.damages import DAMAGED_SWEEP
from tests.sweeps.cli.reading_commands import (
    COMMANDS,
    difference,
    outputs,
    run_command,
    stable,
)
from tests.sweeps.execution.tables import final_tables

pytestmark = pytest.mark.usefixtures("short_waits")

Foreign = Callable[[Path, Path], list[Path]]
"""Adds files to a folder of a storage, given a folder outside of it; returns their paths."""


def _file(*names: str) -> Foreign:
    def add(folder: Path, outside: Path) -> list[Path]:
        for name in names:
            (folder / name).write_bytes(b"\0\1")
        return [folder / name for name in names]

    return add


def _copies(folder: Path, outside: Path) -> list[Path]:
    """Copies of the first file and of the first folder, as a file manager names them."""
    found = sorted(path for path in folder.iterdir() if not path.is_symlink())
    files = [path for path in found if path.is_file()][:1]
    folders = [path for path in found if path.is_dir()][:1]
    added = [folder / f"{path.stem} copy (1){path.suffix}" for path in files]
    for path, copy in zip(files, added, strict=True):
        shutil.copy(path, copy)
    copies = [folder / f"{path.name} copy" for path in folders]
    for path, copy in zip(folders, copies, strict=True):
        shutil.copytree(path, copy, symlinks=True)
    return [*added, *copies]


def _links_out(folder: Path, outside: Path) -> list[Path]:
    links = {"a link": outside, "link.parquet": outside / "file", "link.json": outside / "file"}
    for name, target in links.items():
        (folder / name).symlink_to(target)
    return [folder / name for name in links]


def _link_loops(folder: Path, outside: Path) -> list[Path]:
    links = {"loop": "loop", "loop.parquet": "loop.parquet", "a loop here": ".", "a loop up": ".."}
    for name, target in links.items():
        (folder / name).symlink_to(target)
    return [folder / name for name in links]


def _lost_and_found(folder: Path, outside: Path) -> list[Path]:
    place = folder / "lost+found"
    place.mkdir()
    (place / "#12345").write_bytes(b"\0")
    return [place]


def _editor(folder: Path, outside: Path) -> list[Path]:
    files = [path for path in sorted(folder.iterdir()) if path.is_file()][:1]
    names = [path.name for path in files] or ["x"]
    (folder / f".#{names[0]}").symlink_to("ada@host.1234:1700000000")
    kinds = [f"{names[0]}~", f".{names[0]}.swp", f"#{names[0]}#", f"{names[0]}.bak"]
    for name in kinds:
        (folder / name).write_bytes(files[0].read_bytes() if files else b"")
    return [folder / name for name in (f".#{names[0]}", *kinds)]


FOREIGN: dict[str, Foreign] = {
    "of desktops": _file(".DS_Store", "Thumbs.db", "desktop.ini", "._x.parquet"),
    "foreign parts": _file("a copy (1).parquet", "x.zip", "x.json", "x.jsonl", "x.yaml"),
    "copies": _copies,
    "links out": _links_out,
    "link loops": _link_loops,
    "lost and found": _lost_and_found,
    "of editors": _editor,
}


def scatter(storage: Path, outside: Path, kinds: list[str]) -> list[Path]:
    """Add foreign files to every folder of a storage; return their paths."""
    outside.mkdir()
    (outside / "file").write_bytes(b"\0")
    folders = [Path(folder) for folder, _, _ in os.walk(storage)]
    return [path for kind in kinds for at in folders for path in FOREIGN[kind](at, outside)]


def check(whole: Path, folder: Path, undamaged: dict[str, str], kinds: list[str]) -> list[str]:
    """Return what is wrong after foreign files were added."""
    at, out = Path(shutil.copytree(whole, folder / "storage", symlinks=True)), folder / "out"
    added = scatter(at, folder / "outside", kinds)
    wrong = []
    for command, result in outputs(at, out, COMMANDS).items():
        said = f"{kinds}, {command}: {result.exit_code}, {result.output[-300:]!r}"
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            wrong.append(f"{said}: {result.exception!r}")
        elif result.exit_code not in {0, 4} or "Traceback" in result.output:
            wrong.append(said)
        else:
            lost = lost_lines(stable(result.stdout, at, out), undamaged[command])
            wrong += [f"{said} has no longer: {lost}"] if lost else []
    deleted = run_command("gc", at, "--delete")
    if deleted.exit_code not in {0, 2}:  # refused if a foreign part may name stages
        wrong.append(f"{kinds}, gc --delete: {deleted.exit_code}, {deleted.output[-300:]}")
    restored = run_command("restore", at)
    if restored.exit_code != 0:
        wrong.append(f"{kinds}, restore: {restored.exit_code}, {restored.output[-300:]}")
    gone = [str(path.relative_to(at)) for path in added if not os.path.lexists(path)]
    return [*wrong, *(f"{kinds}: {path} is gone" for path in gone)]


def lost_lines(output: str, before: str) -> list[str]:
    """Return the lines that are missing or changed; further lines name foreign files."""
    lines = difference(output, before)
    return [line for line in lines if line.startswith("-") and '"left_out": []' not in line]


def test_foreign_files_in_every_folder_change_no_number(
    whole: Path, tmp_path: Path, undamaged: dict[str, str]
) -> None:
    wrong = check(whole, tmp_path, undamaged, [*FOREIGN])
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_files_of_a_kind_change_no_number(
    whole: Path, tmp_path: Path, undamaged: dict[str, str], kind: str
) -> None:
    wrong = check(whole, tmp_path, undamaged, [kind])
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_continues_among_foreign_files(whole: Path, tmp_path: Path) -> None:
    """In a process of its own, because it imports Ray."""
    at = Path(shutil.copytree(whole, tmp_path / "storage", symlinks=True))
    before = final_tables(at, "small")
    for part in at.glob("sweeps/small/results/bundles/*.zip"):
        part.unlink()  # something to do: these rows are written again
    scatter(at, tmp_path / "outside", [*FOREIGN])
    file = tmp_path / "sweep.yaml"
    file.write_text(yaml.safe_dump(DAMAGED_SWEEP))
    command = [sys.executable, "-m", "sweeps", "run", str(file), "--storage", str(at)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert final_tables(at, "small") == before
    assert list(open_storage(str(at)).list("damaged")) == []
