"""Software on the disks of hosts: the checkout of a developer, environments of nodes."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from tests.cluster.lab.disk import HOME, give
from tests.cluster.lab.host import Host
from tests.cluster.lab.records import REPOSITORY

CHECKOUT = f"{HOME}/lorac-sweeps"
BORROWED_BUILD = "[install]\nno-build-isolation = false\n"
"""Build the package with the borrowed setuptools: in pip's files, `false` turns isolation off."""
NOT_COPIED = {".git", ".venv", ".hypothesis", "build", "dist", "runs", "shared"}
"""At the top level of the repository."""
IGNORED = shutil.ignore_patterns(".*_cache", "__pycache__")


def give_checkout(laptop: Host, key: Path) -> None:
    """A copy of this repository, and the user's key, as a developer has them."""
    checkout = laptop.path(CHECKOUT)
    shutil.copytree(REPOSITORY, checkout, ignore=_not_of_a_checkout)
    (checkout / ".venv").symlink_to(Path(sys.prefix).resolve())
    shutil.copy(key, laptop.path("~/.ssh/id_ed25519"))
    laptop.path("~/.ssh/id_ed25519").chmod(0o600)
    # The packages of the environment are those of the checkout that it was made in.
    laptop.write("~/.bashrc", f"export PYTHONPATH={CHECKOUT}\n")
    give(laptop.path("~"))


def _not_of_a_checkout(folder: str, names: list[str]) -> set[str]:
    """Return the names in a folder of the repository that a fresh checkout does not have."""
    top = NOT_COPIED if Path(folder) == REPOSITORY else set()
    return (top | IGNORED(folder, names)) & set(names)


def lend_environment(node: Host, sources: bool = False) -> None:
    """An environment that takes its packages from the one of the developer; needs no pip.

    `sources` adds the packages of this repository, for nodes that no launcher sets up.
    """
    node.run("mkdir -p lorac-sweeps && cd lorac-sweeps && python3 -m venv .venv").expect()
    environment = node.path("~/lorac-sweeps/.venv")
    packages = next(environment.glob("lib/python3*/site-packages"))
    shutil.rmtree(packages / "setuptools", ignore_errors=True)
    for metadata in packages.glob("setuptools-*"):
        shutil.rmtree(metadata)
    (environment / "pip.conf").write_text(BORROWED_BUILD)
    (packages / "lent.pth").write_text("/opt/lab/site-packages\n")
    scripts = ["ray"]
    if sources:
        (packages / "lent.pth").write_text(f"{CHECKOUT}\n/opt/lab/site-packages\n")
        for name in ("clmethods", "sweeps", "cluster"):
            shutil.copytree(REPOSITORY / name, node.path(f"{CHECKOUT}/{name}"), ignore=IGNORED)
        scripts += ["sweeps", "clmethods"]
    for script in scripts:
        text = Path(sys.prefix, "bin", script).read_text()
        file = environment / "bin" / script
        file.write_text(re.sub(r"^#!.*", f"#!{CHECKOUT}/.venv/bin/python", text))
        file.chmod(0o755)
    give(node.path(CHECKOUT))
