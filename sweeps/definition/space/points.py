"""From points to runs: what a point sets, what of it acts, which points are equal in effect."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import Any, final

from clmethods.config.keys import acts_alike, effect_id
from clmethods.config.run import RunConfig
from sweeps.definition.file.run_sections import (
    DEFAULT_KIND,
    SECTIONS,
    CheckedRun,
    Sections,
    check_run,
    merged,
    remembering_resolve,
    value_at,
    with_values,
)
from sweeps.definition.space.ablation import PART
from sweeps.definition.space.axes import Axis, every_axis
from sweeps.definition.space.run_fields import default_of, has_field
from sweeps.definition.space.sampling import Point

MAX_VARIANTS = 1024
"""An axis that cannot be shown to be idle with so many tries is taken to act."""
_KEY = json.JSONEncoder(sort_keys=True)
"""Spells a point; kept, as `json.dumps` with a choice of its own makes a new one every time."""
MAX_REMEMBERED = 65536
"""Checked points that are kept: those of a large grid, neighbours included."""


@final
class Space:
    """The base run, and what the axes of a search and the parts of an ablation make of it.

    What a point asks for is worked out once, however often it is asked.
    """

    def __init__(self, base: CheckedRun, axes: Sequence[Axis], parts: Sequence[Axis]) -> None:
        self.base = base
        self.choices = [axis for axis in axes if axis.options]
        self.parts = {axis.path: axis for axis in parts}
        self.probes: dict[str, list[Any]] = {}
        """All values of the fields and parts, by path; the two ends of a range."""
        for axis in every_axis([*axes, *parts]):
            if axis.scale != "choice" or axis.path in self.parts:
                known = self.probes.setdefault(axis.path, [])
                known.extend(value for value in axis.values if value not in known)
        self.varying = {axis.path for axis in every_axis([*axes, *parts]) if axis.varies}
        self._resolved = remembering_resolve()
        self._checked = lru_cache(maxsize=MAX_REMEMBERED)(self._check)

    def sections(self, point: Point) -> Sections:
        """What the point makes of the base: its choices first, then fields and parts.

        Fields that the chosen method does not have are left out.
        """
        result = self.base.sound
        for axis in self.choices:
            if axis.path in point:
                result = merged(result, axis.option(point[axis.path]).sections)
        kind = _kind(result)
        for path, value in point.items():
            if path in self.parts:
                option_sections = self.parts[path].option(value).sections
                result = with_values(
                    result, {p: v for p, v in _flat(option_sections).items() if has_field(p, kind)}
                )
            elif path not in SECTIONS and has_field(path, kind):
                result = with_values(result, {path: value})
        return result

    def existing(self, point: Point) -> Point:
        """The point without the fields and parts that its method does not have."""
        kind = _kind(self.sections({p: v for p, v in point.items() if p in SECTIONS}))
        return {
            path: value
            for path, value in point.items()
            if path in SECTIONS
            or any(
                has_field(p, kind)
                for p in (self._set_by_part(path) if path in self.parts else [path])
            )
        }

    def value(self, point: Point, path: str) -> Any:
        """What a condition reads: a field, a choice's label, or a part's state.

        Raises `KeyError` where the configuration has none.
        """
        if path in SECTIONS or path in self.parts:
            return self.existing(point)[path]
        sections = self.sections(point)
        section, _, field = path.partition(".")
        default = default_of(path, _kind(sections))
        return sections.get(section, {}).get(field, default)

    def checked(self, point: Point) -> CheckedRun:
        """The run of the point, and what is wrong with it."""
        return self._checked(_KEY.encode(point))

    def _check(self, point: str) -> CheckedRun:
        return check_run(self.sections(json.loads(point)), self._resolved)

    def effect(self, point: Point) -> str | None:
        """What of the point acts: equal texts mean equal stages. None if its run is not sound."""
        checked = self.checked(point)
        return None if checked.issues else effect_id(checked.run)

    def idle(self, point: Point) -> list[str]:
        """Fields and parts of the point that could be anything, all at once, with equal effect.

        "Anything" is every value that they have in the sweep, and what the sections say.
        """
        found: list[str] = []
        for path in point:
            if path in self.varying and path in self.probes and self._equal([*found, path], point):
                found.append(path)
        return found

    def _equal(self, paths: Sequence[str], point: Point) -> bool:
        """Whether all that the paths could hold acts like the point; values that do not fit the
        others tell nothing."""
        values = [[*((value,) for value in self.probes[path]), ()] for path in paths]
        if math.prod(map(len, values)) > MAX_VARIANTS:
            return False
        run = self.checked(point).run
        rest = {path: value for path, value in point.items() if path not in paths}
        for combination in product(*values):
            given = {p: value[0] for p, value in zip(paths, combination, strict=True) if value}
            other = self.checked(rest | given)
            if other.issues and given:
                continue
            if other.issues or not acts_alike(run, other.run):
                return False
        return True

    def _set_by_part(self, path: str) -> list[str]:
        return [p for option in self.parts[path].options for p in _flat(option.sections)]


def factor_of(run: RunConfig, path: str, value: Any) -> Any:
    """What a table shows of a point's entry: the field as the run has it, or a label."""
    return value_at(run, path) if "." in path and not path.startswith(PART) else value


def _kind(sections: Sections) -> str:
    return str(sections.get("method", {}).get("kind", DEFAULT_KIND))


def _flat(sections: Sections) -> dict[str, Any]:
    return {f"{name}.{f}": v for name, section in sections.items() for f, v in section.items()}
