"""Stage tree: the stages that a set of trials needs, with shared stages merged.

A trial is a path from a root. Equal stage keys are one node, trained once. The term is from Hippo
(arXiv 2006.11972).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from clmethods.config.keys import StageSpec
from sweeps.definition.trials import TrialSpec

Done = Callable[[str], bool] | Collection[str]
"""Stored stages: a set of keys, or a function that returns True for a stored key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageNode:
    """One distinct stage."""

    key: str
    parent: str | None
    position: int
    spec: StageSpec
    uses: int
    """Number of trials whose chain holds this stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTree:
    """Distinct stages and the path of every trial through them."""

    nodes: Mapping[str, StageNode]
    """By key; a parent comes before its children."""
    chains: Mapping[str, tuple[str, ...]]
    """Stage keys of each trial by position, by trial_id."""

    @classmethod
    def of(
        cls, trials: Iterable[TrialSpec], lengths: Mapping[str, int] | None = None
    ) -> StageTree:
        """Return the tree of `trials`; repeated trials count once.

        `lengths`: number of requested stages by trial_id; a trial without an entry needs all its
        stages.
        """
        specs: dict[str, StageSpec] = {}
        uses: dict[str, int] = {}
        chains: dict[str, tuple[str, ...]] = {}
        for trial in trials:
            if trial.trial_id in chains:
                continue
            chain = trial.chain
            if lengths is not None:
                chain = chain[: lengths.get(trial.trial_id, len(chain))]
            chains[trial.trial_id] = tuple(stage.key for stage in chain)
            for stage in chain:
                specs.setdefault(stage.key, stage)
                uses[stage.key] = uses.get(stage.key, 0) + 1
        nodes = {
            key: StageNode(
                key=key, parent=spec.parent, position=spec.position, spec=spec, uses=uses[key]
            )
            for key, spec in specs.items()
        }
        return cls(nodes=nodes, chains=chains)

    @property
    def trials(self) -> int:
        """Return the number of trials."""
        return len(self.chains)

    @property
    def total(self) -> int:
        """Return the number of stages without sharing: the sum of the chains' lengths."""
        return sum(map(len, self.chains.values()))

    @property
    def distinct(self) -> int:
        """Return the number of stages that must be trained."""
        return len(self.nodes)

    def remaining(self, done: Done = ()) -> tuple[StageNode, ...]:
        """Return the distinct stages that are not stored, parents before children."""
        stored = _asks(done)
        return tuple(node for key, node in self.nodes.items() if not stored(key))

    def remaining_chains(self, done: Done = ()) -> dict[str, tuple[str, ...]]:
        """Return the keys of the stages of each trial that are not stored, in order.

        A stored stage whose parent is missing still counts as stored: only the parent must be
        computed again.
        """
        stored = _asks(done)
        missing = {key for key in self.nodes if not stored(key)}
        return {
            trial_id: tuple(key for key in chain if key in missing)
            for trial_id, chain in self.chains.items()
        }


def _asks(done: Done) -> Callable[[str], bool]:
    return done if callable(done) else done.__contains__
