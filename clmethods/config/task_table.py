"""TaskTable: how alike the tasks of a stream are, and how hard each one is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from clmethods.canonical import plain, short_id
from clmethods.config.backbone import BackboneConfig
from clmethods.config.stream import StreamConfig
from clmethods.errors import refuse, require

LAYOUT = 1
"""Bumped when the same identity would give other numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTable:
    """Measured on features of the frozen backbone, of training images only.

    `clmethods.task_features` measures it.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    of: str = ""
    """Id of all that the numbers depend on, see `table_id`."""
    distance: tuple[tuple[float, ...], ...] = ()
    """(T, T): between the prototypes of two tasks, in units of the spread within classes."""
    error: tuple[float, ...] = ()
    """(T,): leave-one-out error of the nearest class mean among the classes of the task."""
    ambiguity: tuple[float, ...] = ()
    """(T,): mean share of the distance to the own class mean in that and the nearest other one: 0
    is easy, 1/2 undecided. Tells tasks of equal error apart."""

    def __post_init__(self) -> None:
        t = len(self.error)
        square = len(self.distance) == t and all(len(row) == t for row in self.distance)
        refuse(
            [
                require(square, "distance", self.distance, f"{t} x {t} numbers, as `error` has"),
                require(
                    len(self.ambiguity) == t, "ambiguity", self.ambiguity, f"{t} numbers, as error"
                ),
            ]
        )

    @property
    def tasks(self) -> int:
        """T."""
        return len(self.error)


@lru_cache(maxsize=256)  # the configurations of a sweep mostly have the same stream
def table_id(backbone: BackboneConfig, stream: StreamConfig) -> str:
    """Id of the data, its grouping into tasks, its split and the backbone; both resolved.

    Neither the task order nor the place of the files is in it.
    """
    groups = [plain(group) for group in stream.groups()]
    return short_id(["task_table", LAYOUT, backbone.identity(), stream.effect(), groups])
