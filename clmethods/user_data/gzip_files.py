"""Reader of files that may be compressed by gzip, with a limit of what they expand to."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

EXPANSION, EXPANSION_FREE = 100, 256 << 20
"""A file may expand to so many times its size, and to so many bytes in any case."""


def read_gzip(path: Path) -> bytes:
    """Return the content of a file, decompressed if its name ends in .gz.

    Raises OSError if the file is damaged or expands beyond the limit.
    """
    if path.suffix != ".gz":
        return path.read_bytes()
    limit = max(EXPANSION * path.stat().st_size, EXPANSION_FREE)
    try:
        with gzip.open(path) as stream:
            data = stream.read(limit + 1)
    except (EOFError, zlib.error) as error:
        raise OSError(f"it is damaged: {error}") from error
    if len(data) > limit:
        raise OSError(f"it expands to more than {limit:,} bytes")
    return data
