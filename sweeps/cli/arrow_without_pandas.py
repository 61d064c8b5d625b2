"""Arrow without pandas: pyarrow imports pandas when it converts its first list, if it is there.

The commands that read never use pandas, whose import takes longer than most of them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import final


def skip_pandas() -> None:
    """Let pyarrow find no pandas. Conversions to pandas that are asked for still work."""
    if "pandas" in sys.modules:
        return
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        import pyarrow as pa

        pa.array([0])  # pyarrow looks for pandas once
    finally:
        sys.meta_path.remove(finder)


@final
class _NoPandas(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        """Raise ImportError for pandas; other modules are found by the other finders."""
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not used here", name="pandas")
