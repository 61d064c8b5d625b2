"""Conversion of a draw of the search to accepted settings and to configurations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import final

from clmethods.config.run import RunConfig
from clmethods.errors import ConfigIssue, InvalidConfigError
from sweeps.definition.configuration import Configuration, Role, label_of
from sweeps.definition.file.run_sections import SECTIONS
from sweeps.definition.space.ablation import PART, AblationPlan
from sweeps.definition.space.axes import Axis
from sweeps.definition.space.conditions import Condition
from sweeps.definition.space.points import Space, factor_of
from sweeps.definition.space.sampling import Point

REPLICATED = ("stream.class_order_seed", "stream.split_seed")
"""Fields that can be axes but define replicates, like seeds, instead of configurations. They are
not part of `config_id` and have separate columns in the table `trials`."""


@final
class Candidates:
    """Axes, ablation plan and conditions of a sweep, applied to draws."""

    def __init__(
        self,
        space: Space,
        axes: Sequence[Axis],
        plan: AblationPlan,
        conditions: Sequence[Condition],
    ) -> None:
        self.space, self.axes, self.plan, self.conditions = space, axes, plan, conditions
        self.states = plan.states()
        self.undecidable: dict[str, ConfigIssue] = {}
        """Issues of conditions that cannot be evaluated for some setting."""
        self.rejections = dict.fromkeys((condition.place for condition in conditions), 0)
        """Number of settings that each condition has rejected."""
        self._judged: dict[str, list[Point]] = {}

    def accepted(self, draw: Point) -> list[Point]:
        """Return the draw in each state of the ablation plan that meets the conditions."""
        key = json.dumps(draw)
        if key not in self._judged:
            settings = [{**draw, **state} for state in self.states]
            accepted = [[self._meets(point, c) for c in self.conditions] for point in settings]
            self._judged[key] = [
                p for p, all_met in zip(settings, accepted, strict=True) if all(all_met)
            ]
        return self._judged[key]

    def valid(self, draw: Point) -> list[Point]:
        """Return the accepted settings with valid runs, without fields that do not exist."""
        points = map(self.space.existing, self.accepted(draw))
        return [point for point in points if self.space.effect(point) is not None]

    def configuration(self, point: Point) -> tuple[Configuration, tuple[str, ...]]:
        """Return the configuration of a valid setting, and the fields that do not act in it."""
        idle = self.space.idle(point)
        kept = {path: value for path, value in point.items() if path not in idle}
        return self._configuration(kept, self.space.checked(kept).run), tuple(idle)

    def _meets(self, point: Point, condition: Condition) -> bool:
        try:
            met = condition.holds(lambda path: self.space.value(point, path))
        except InvalidConfigError as error:
            self.undecidable.update((str(issue), issue) for issue in error.issues)
            return False
        self.rejections[condition.place] += not met
        return met

    def _configuration(self, point: Point, run: RunConfig) -> Configuration:
        """Return the configuration of a point in which all fields act."""
        space = self.space
        point = {path: value for path, value in point.items() if path not in REPLICATED}
        parts = {path: str(value) for path, value in point.items() if path.startswith(PART)}
        shown = {p: v for p, v in point.items() if p in space.varying and p not in parts}
        kind = str(shown.pop("method", run.method.kind))
        chosen = [str(shown[path]) for path in shown if path in SECTIONS]
        factors = {path: factor_of(run, path, value) for path, value in point.items()}
        fields = {path: factors[path] for path in shown if path not in SECTIONS}
        label = " ".join(filter(None, [label_of(kind, fields), *chosen, self.plan.label(parts)]))
        role: Role = "reference" if run.method.REFERENCE else "search"
        named = {path.removeprefix(PART): side for path, side in parts.items()}
        return Configuration(label=label, role=role, factors=factors, parts=named, run=run)
