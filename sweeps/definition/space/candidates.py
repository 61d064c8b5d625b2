"""What a draw of the search becomes: settings that the conditions accept, then configurations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import final

from clmethods.config.run import RunConfig
from clmethods.errors import ConfigIssue, InvalidConfigError
from sweeps.definition.file.run_sections import SECTIONS
from sweeps.definition.space.ablation import PART, AblationPlan
from sweeps.definition.space.axes import Axis
from sweeps.definition.space.conditions import Condition
from sweeps.definition.space.points import Space, factor_of
from sweeps.definition.space.sampling import Point
from sweeps.definition.sweep import Configuration, Role, label_of

REPLICATED = ("stream.class_order_seed", "stream.split_seed")
"""Fields that may be axes but make replicates, not configurations, as seeds do: `config_id` leaves
them out, and they have columns of their own in the table `trials`."""


@final
class Candidates:
    """The axes, the ablation plan and the conditions of a sweep, ready for any draw."""

    def __init__(
        self,
        space: Space,
        axes: Sequence[Axis],
        plan: AblationPlan,
        conditions: Sequence[Condition],
    ) -> None:
        self.space, self.axes, self.plan, self.conditions = space, axes, plan, conditions
        self.states = plan.states()
        self.odd: dict[str, ConfigIssue] = {}
        """Conditions that could not be worked out for some setting."""
        self.broken = dict.fromkeys((condition.place for condition in conditions), 0)
        """How many settings each condition has rejected."""
        self._judged: dict[str, list[Point]] = {}

    def accepted(self, draw: Point) -> list[Point]:
        """The draw in every state of the ablation, as far as the conditions accept it."""
        key = json.dumps(draw)
        if key not in self._judged:
            settings = [{**draw, **state} for state in self.states]
            met = [[self._meets(point, c) for c in self.conditions] for point in settings]
            self._judged[key] = [p for p, every in zip(settings, met, strict=True) if all(every)]
        return self._judged[key]

    def sound(self, draw: Point) -> list[Point]:
        """The accepted settings of a draw whose runs break no law, without what cannot exist."""
        points = map(self.space.existing, self.accepted(draw))
        return [point for point in points if self.space.effect(point) is not None]

    def configuration(self, point: Point) -> tuple[Configuration, tuple[str, ...]]:
        """(the configuration of a sound setting, what does not act in it)."""
        idle = self.space.idle(point)
        kept = {path: value for path, value in point.items() if path not in idle}
        return self._configuration(kept, self.space.checked(kept).run), tuple(idle)

    def _meets(self, point: Point, condition: Condition) -> bool:
        try:
            met = condition.holds(lambda path: self.space.value(point, path))
        except InvalidConfigError as error:
            self.odd.update((str(issue), issue) for issue in error.issues)
            return False
        self.broken[condition.place] += not met
        return met

    def _configuration(self, point: Point, run: RunConfig) -> Configuration:
        """The configuration of a point in which everything acts."""
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
