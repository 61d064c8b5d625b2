"""Fetch the pinned Debian packages of tools/fonts.json into a cache folder outside the package.

    python tools/fetch_fonts.py --group pretrain --cache build/fonts

Needs apt-get and dpkg-deb, and an up-to-date package index (`apt-get update`). Nothing is
installed: each package is downloaded, its SHA-256 is checked, and it is unpacked into
CACHE/GROUP/PACKAGE. A package that is there already is left alone. None of these files is shipped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

PINS = Path(__file__).with_name("fonts.json")


def fetch(name: str, version: str, sha256: str, folder: Path) -> None:
    """Download one package, check its SHA-256 and unpack it into `folder`."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            ["apt-get", "download", "-qq", f"{name}={version}"], cwd=scratch, check=True
        )
        (deb,) = Path(scratch).glob("*.deb")
        found = hashlib.sha256(deb.read_bytes()).hexdigest()
        if found != sha256:
            raise ValueError(f"{name} {version}: SHA-256 must be {sha256}, but got {found}")
        unpacked = Path(scratch) / "unpacked"
        subprocess.run(["dpkg-deb", "-x", str(deb), str(unpacked)], check=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(unpacked, folder)


def main() -> None:
    pins = json.loads(PINS.read_text())
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--group", choices=sorted(pins), action="append", required=True)
    parser.add_argument("--cache", type=Path, default=Path("build/fonts"))
    args = parser.parse_args()
    for group in args.group:
        for pin in pins[group]:
            folder = args.cache / group / pin["package"]
            if not folder.exists():
                print(f"{group}: {pin['package']} {pin['version']}", flush=True)
                fetch(pin["package"], pin["version"], pin["sha256"], folder)


if __name__ == "__main__":
    main()
