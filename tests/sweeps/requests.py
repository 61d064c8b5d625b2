"""Counter of the requests that a storage receives, whatever its backend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import obstore
import pytest

READS = ("get", "head", "list_with_delimiter")
WRITES = ("put", "delete", "rename", "copy")
PAGE = 1000
"""Objects per page of a listing, as on S3."""


class Requests:
    """Requests by kind since the last `clear`; a page of a listing is a request."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.read: list[str] = []
        """Paths that `get` was asked for."""

    def clear(self) -> None:
        self.counts.clear()
        self.read.clear()

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def writes(self) -> int:
        return sum(self.counts[name] for name in WRITES)


def counted(monkeypatch: pytest.MonkeyPatch) -> Requests:
    """Count the calls of `obstore` from now on."""
    requests = Requests()

    def counting(name: str) -> Any:
        plain = getattr(obstore, name)

        def call(store: Any, *arguments: Any, **options: Any) -> Any:
            requests.counts[name] += 1
            if name == "get":
                requests.read.append(arguments[0])
            return plain(store, *arguments, **options)

        return call

    for name in (*READS, *WRITES):
        monkeypatch.setattr(obstore, name, counting(name))
    plain_list = obstore.list

    def pages(*arguments: Any, **options: Any) -> Iterator[Any]:
        number = 0
        for chunk in plain_list(*arguments, **options):
            number += len(chunk)
            yield chunk
        requests.counts["list"] += max(1, -(-number // PAGE))

    monkeypatch.setattr(obstore, "list", pages)
    return requests
