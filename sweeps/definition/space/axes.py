"""Axes of a search space: fields that vary, and choices between whole sections."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from clmethods.errors import ConfigIssue, InvalidConfigError, refuse, require
from sweeps.definition.file.run_sections import Sections

SIGNIFICANT_DIGITS = 6
"""Precision of sampled values, chosen so that a printed value can be entered again exactly."""
_RANGES = ("uniform", "log", "integer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One choice of an axis over whole sections."""

    label: str
    """Name of the choice in tables."""
    sections: Sections
    """Fields that the choice sets."""
    axes: tuple[Axis, ...] = ()
    """Axes that exist only with this choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Axis over the values or the range of a field, or over choices of a section."""

    path: str
    """Dotted path of the field, such as `method.rank`; for choices the name of the section."""
    scale: Literal["list", "uniform", "log", "integer", "choice"] = "list"
    values: tuple[object, ...] = ()
    """Listed values, the two ends of a range (inclusive), or the labels of the choices."""
    options: tuple[Option, ...] = ()
    """Choices, in the order of their labels."""

    @property
    def varies(self) -> bool:
        """True if configurations can differ in this axis."""
        return self.scale not in {"list", "choice"} or len(self.values) > 1

    def probes(self, here: str) -> tuple[tuple[str, object], ...]:
        """Return (key path, value) of each value that must be valid, for an axis at `here`."""
        inside = "" if self.scale == "list" else f".{self.scale}"
        return tuple((f"{here}{inside}[{i}]", value) for i, value in enumerate(self.values))

    def option(self, label: object) -> Option:
        """Return the choice with a given label."""
        return self.options[self.values.index(label)]

    @property
    def ends(self) -> tuple[float, float]:
        """The two ends of a range, inclusive; integers on the scale `integer`."""
        low, high = self.values
        if not isinstance(low, int | float) or not isinstance(high, int | float):
            raise TypeError(f"{self.path} has no range: {self.scale}")
        return low, high

    def at(self, fraction: float) -> object:
        """Return the value at `fraction` in [0, 1); listed values have equal shares."""
        if self.scale in {"list", "choice"}:
            return self.values[min(int(fraction * len(self.values)), len(self.values) - 1)]
        low, high = self.ends
        if self.scale == "integer":
            return min(low + int(fraction * (high - low + 1)), high)
        if self.scale == "log":
            value = math.exp(math.log(low) + fraction * (math.log(high) - math.log(low)))
        else:
            value = low + fraction * (high - low)
        rounded = float(f"{value:.{SIGNIFICANT_DIGITS}g}")
        return min(max(rounded, low), high)


def every_axis(axes: Sequence[Axis]) -> Iterator[Axis]:
    """Yield all axes, including those of choices; two choices can have axes of the same path."""
    for axis in axes:
        yield axis
        for option in axis.options:
            yield from every_axis(option.axes)


def parse_axis(path: str, written: object, kind: str | None, here: str) -> Axis:
    """Return the axis over the field at `path` that the sweep file defines at `here`.

    `kind` is the algorithm, or None if it is unknown.

    Raises:
        InvalidConfigError: If the axis is not a list of values or a valid range.
    """
    if isinstance(written, Mapping):
        return _parse_range(path, written, kind, here)
    if not isinstance(written, list) or not written:
        constraint = "a list of one or more values, or a range such as {log: [0.001, 1]}"
        is_single = isinstance(written, bool | int | float | str)
        hint = "Put a single value into the section of its field instead." if is_single else ""
        raise InvalidConfigError([ConfigIssue(here, written, constraint, hint)])
    return Axis(path=path, values=tuple(written))


def _parse_range(path: str, written: Mapping[str, object], kind: str | None, here: str) -> Axis:
    scale, ends = next(iter(written.items()), ("", None))
    if len(written) != 1 or scale not in _RANGES:
        constraint = f"one of {list(_RANGES)} with its two ends, such as {{uniform: [0, 1]}}"
        raise InvalidConfigError([ConfigIssue(here, written, constraint)])
    here = f"{here}.{scale}"
    numbers = int if scale == "integer" else int | float
    if (
        not isinstance(ends, list)
        or len(ends) != 2
        or not all(isinstance(end, numbers) and not isinstance(end, bool) for end in ends)
    ):
        noun = "whole numbers" if scale == "integer" else "numbers"
        raise InvalidConfigError([ConfigIssue(here, ends, f"[low, high], two {noun}")])
    low, high = ends
    refuse(
        [
            require(low < high, here, ends, "[low, high] with low below high"),
            require(scale != "log" or low > 0, here, ends, "ends greater than 0 on a log scale"),
            require(
                kind != "grid",
                here,
                ends,
                "a list of values, as the algorithm is `grid`",
                "Ranges need `algorithm: {kind: sobol, trials: 32}`, or `random`.",
            ),
        ]
    )
    if scale == "integer":
        return Axis(path=path, scale="integer", values=(low, high))
    return Axis(
        path=path, scale="log" if scale == "log" else "uniform", values=(float(low), float(high))
    )
