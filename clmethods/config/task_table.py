"""Task table: measured similarity and difficulty of the tasks of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from clmethods.canonical import plain, short_id
from clmethods.config.backbone import BackboneConfig
from clmethods.config.stream import StreamConfig
from clmethods.errors import refuse, require

LAYOUT = 1
"""Version of the numbers, increased when the same identity gives different numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTable:
    """Similarity and difficulty of tasks, measured on features of the training images.

    The features are those of the frozen backbone; `clmethods.task_features` measures the table.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    of: str = ""
    """Id of the settings and data that the numbers depend on; see `table_id`."""
    distance: tuple[tuple[float, ...], ...] = ()
    """(T, T) distance between prototypes of two tasks, divided by the spread within classes."""
    error: tuple[float, ...] = ()
    """(T,) leave-one-out error of the nearest class mean classifier on the classes of the task."""
    ambiguity: tuple[float, ...] = ()
    """(T,) mean over images of d / (d + d'), where d is the distance to the mean of the image's
    own class and d' the distance to the nearest other class mean. 0 is easy, 1/2 is undecided. It
    distinguishes tasks of equal error."""

    def __post_init__(self) -> None:
        t = len(self.error)
        square = len(self.distance) == t and all(len(row) == t for row in self.distance)
        refuse(
            [
                require(square, "distance", self.distance, f"{t} x {t} numbers, as `error` has"),
                require(
                    len(self.ambiguity) == t,
                    "ambiguity",
                    self.ambiguity,
                    f"{t} numbers, as `error` has",
                ),
            ]
        )

    @property
    def tasks(self) -> int:
        """T, the number of tasks."""
        return len(self.error)


@lru_cache(maxsize=256)  # most configurations of a sweep have the same stream
def table_id(backbone: BackboneConfig, stream: StreamConfig) -> str:
    """Return the id of a table: the data, its grouping into tasks, its split and the backbone.

    `backbone` and `stream` must be resolved. The id depends neither on the task order nor on the
    location of the files.
    """
    groups = [plain(group) for group in stream.groups()]
    return short_id(["task_table", LAYOUT, backbone.identity(), stream.effect(), groups])
