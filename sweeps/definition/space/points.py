"""Conversion of points of the search space to runs, and equality of points in effect."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from typing import final

from clmethods.canonical import canonical_json
from clmethods.config.keys import acts_alike, effect_id
from clmethods.config.run import RunConfig
from sweeps.definition.file.data_records import data_records, using_records
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
"""Maximum number of combinations for which a field is tested for having no effect."""
_KEY = json.JSONEncoder(sort_keys=True)
"""JSON encoder of points. It is created once, because `json.dumps` with options creates a new one
per call."""
MAX_REMEMBERED = 65536
"""Maximum number of checked points in the cache: a large grid with the neighbors of its points."""


@final
class Space:
    """Base run with the axes of a search and the parts of an ablation plan.

    Results for points are cached.
    """

    def __init__(self, base: CheckedRun, axes: Sequence[Axis], parts: Sequence[Axis]) -> None:
        self.base = base
        self.choices = [axis for axis in axes if axis.options]
        self.parts = {axis.path: axis for axis in parts}
        self.probes: dict[str, list[object]] = {}
        """Values of fields and parts by path; the two ends of a range."""
        for axis in every_axis([*axes, *parts]):
            if axis.scale != "choice" or axis.path in self.parts:
                known = {canonical_json(value): value for value in self.probes.get(axis.path, [])}
                for value in axis.values:
                    known.setdefault(canonical_json(value), value)
                self.probes[axis.path] = [*known.values()]
        self.varying = {axis.path for axis in every_axis([*axes, *parts]) if axis.varies}
        self._resolved = remembering_resolve()
        self._records = data_records()
        self._checked = lru_cache(maxsize=MAX_REMEMBERED)(self._check)

    def sections(self, point: Point) -> Sections:
        """Return the sections of a point: the base with choices, then fields and parts, applied.

        Fields that the selected method does not have are left out.
        """
        result = self.base.valid
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
        """Return the point without fields and parts that its method does not have."""
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

    def value(self, point: Point, path: str) -> object:
        """Return the value of a field, the label of a choice or the state of a part.

        Conditions use these values.

        Raises:
            KeyError: If the configuration does not have the field.
        """
        if path in SECTIONS or path in self.parts:
            return self.existing(point)[path]
        sections = self.sections(point)
        section, _, field = path.partition(".")
        default = default_of(path, _kind(sections))
        return sections.get(section, {}).get(field, default)

    def checked(self, point: Point) -> CheckedRun:
        """Return the run of a point with its issues."""
        return self._checked(_KEY.encode(point))

    def _check(self, point: str) -> CheckedRun:
        with using_records(self._records):
            return check_run(self.sections(json.loads(point)), self._resolved)

    def effect(self, point: Point) -> str | None:
        """Return an id that is equal for points with equal stages; None if the run is invalid."""
        checked = self.checked(point)
        return None if checked.issues else effect_id(checked.run)

    def idle(self, point: Point) -> list[str]:
        """Return fields and parts that have no effect at the point, jointly.

        All their values in the sweep and in the sections are tested.
        """
        idle: list[str] = []
        for path in point:
            if path in self.varying and path in self.probes and self._equal([*idle, path], point):
                idle.append(path)
        return idle

    def _equal(self, paths: Sequence[str], point: Point) -> bool:
        """Return True if the point acts the same for all valid values of the paths."""
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


def factor_of(run: RunConfig, path: str, value: object) -> object:
    """Return the value of a point for tables: the field of the run, or a label."""
    return value_at(run, path) if "." in path and not path.startswith(PART) else value


def _kind(sections: Sections) -> str:
    return str(sections.get("method", {}).get("kind", DEFAULT_KIND))


def _flat(sections: Sections) -> dict[str, object]:
    return {f"{name}.{f}": v for name, section in sections.items() for f, v in section.items()}
