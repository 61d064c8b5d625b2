"""Reader of DomainNet with its published split lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clmethods.catalog.facts import DOMAINNET
from clmethods.data.originals import first_folder, require_files
from clmethods.data.source import DatasetError, Source, missing
from clmethods.user_data.folder_listing import TEST, TRAIN


def domainnet(root: str | None) -> Source:
    """Read DomainNet: 345 classes in six domains.

    `<domain>_train.txt` and `<domain>_test.txt` list the images. A line consists of a path,
    relative to the folder of the lists, and a label.
    """
    expected = "the folders of the six domains and <domain>_train.txt, <domain>_test.txt of each"
    folder = first_folder(root, ("domainnet", "DomainNet"), f"{DOMAINNET[0]}_train.txt")
    if folder is None:
        raise missing("domainnet", root, expected)
    files: list[Path] = []
    rows: list[tuple[int, int, int]] = []
    for domain, name in enumerate(DOMAINNET):
        for side, split in (("train", TRAIN), ("test", TEST)):
            source = folder / f"{name}_{side}.txt"
            if not source.is_file():
                raise missing("domainnet", root, f"{source.name}, together with {expected}")
            for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), 1):
                path, _, label = line.strip().rpartition(" ")
                if not path or not label.isdecimal():
                    raise DatasetError(
                        f"{source}, line {number}: got {line!r}, allowed: a path and a label"
                    )
                files.append(folder / path)
                rows.append((int(label), split, domain))
    require_files("domainnet", files)
    labels, splits, domains = zip(*rows, strict=True)
    return Source(
        labels=np.array(labels, np.int64),
        splits=np.array(splits, np.int8),
        files=tuple(files),
        domains=np.array(domains, np.int64),
        base=folder,
    )
