"""Configuration of a run: the training of one chain of stages, which is one trial."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar

from clmethods.canonical import canonical_json, joined_json, plain, short_id_of_json
from clmethods.config.backbone import BackboneConfig
from clmethods.config.methods import (
    METHOD_CONFIGS,
    EffectContext,
    LoracIpcConfig,
    MethodConfig,
)
from clmethods.config.stream import StreamConfig
from clmethods.config.train import TrainConfig
from clmethods.errors import refuse, require


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """All settings that determine the result of a trial, except readouts."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)
    method: MethodConfig = field(default_factory=LoracIpcConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    seed: int = 0
    """Seed of initialization and batches. Class order and split have separate seeds."""

    def __post_init__(self) -> None:
        of_method = self.method.issues_in(self.context)
        issues = [issue.under("method") if issue is not None else None for issue in of_method]
        kinds = sorted(k for k, config in METHOD_CONFIGS.items() if config.RECURRING_CLASSES)
        issues.append(
            require(
                self.method.RECURRING_CLASSES or not self.stream.facts.recurring,
                "method.kind",
                self.method.kind,
                f"one of {kinds} for a stream in which classes recur",
                f"The tasks of {self.stream.dataset} share their classes.",
            )
        )
        refuse(issues)

    @property
    def stages(self) -> int:
        """Number of stages of the chain: T, or 1 for a method that trains on all tasks at once."""
        return 1 if self.method.ORDER_FREE else self.stream.tasks

    @property
    def context(self) -> EffectContext:
        """Properties of the run that the effect of the method may depend on."""
        return EffectContext(tasks=self.stream.tasks, backbone=self.backbone.facts)

    def unchecked(self, backbone: BackboneConfig, stream: StreamConfig, seed: int) -> RunConfig:
        """Return the run with another seed, task order, or resolved sections, without validation.

        A plan creates many thousands of such runs, and validation would be slow. No constraint
        depends on the seed, the task order, or the fields that `resolve` sets. `backbone` and
        `stream` must not differ from those of this run in any other field.
        """
        run = object.__new__(RunConfig)
        kept = {"method": self.method, "train": self.train}
        for name, value in {**kept, "backbone": backbone, "stream": stream, "seed": seed}.items():
            object.__setattr__(run, name, value)
        return run

    @property
    def trial_id(self) -> str:
        """Id of the resolved run. Files are identified by their content, not by their path."""
        return _id(self, _stream_text(self.stream), self.seed)

    @property
    def config_id(self) -> str:
        """Id of the configuration: the run without seed, task order, class order and split."""
        return _id(self, _stream_text(self.stream, unordered=True), 0)

    @property
    def order_id(self) -> str:
        """Task order, such as `0-1-2`; `any` for a method that does not depend on it."""
        return "any" if self.method.ORDER_FREE else "-".join(map(str, self.stream.order))


def run_to_dict(run: RunConfig) -> dict[str, Any]:
    """Return the run as nested dicts for JSON; `run_from_dict` is the inverse."""
    return asdict(run)


def _id(run: RunConfig, stream: str, seed: int) -> str:
    parts = {
        "backbone": _backbone_text(run.backbone),
        "method": _text(run.method),
        "seed": canonical_json(seed),
        "stream": stream,
        "train": _text(run.train),
    }
    return short_id_of_json(joined_json(parts))


_LATER = {"tf32": False, "ipc_unobserved": "dense", "compile": False}
"""Defaults of fields that were added later. Ids omit them, so that older ids stay valid."""


@lru_cache(maxsize=1024)
def _backbone_text(backbone: BackboneConfig) -> str:
    return canonical_json(backbone.identity())


@lru_cache(maxsize=4096)
def _text(section: MethodConfig | TrainConfig) -> str:
    values: dict[str, Any] = plain(section)
    return canonical_json(
        {name: v for name, v in values.items() if name not in _LATER or v != _LATER[name]}
    )


def _stream_text(stream: StreamConfig, unordered: bool = False) -> str:
    return (_cached_text if stream.settled else _identity_text)(stream, unordered)


def _identity_text(stream: StreamConfig, unordered: bool) -> str:
    if unordered:
        stream = replace(stream, class_order_seed=None, task_order=None, split_seed=0)
    return canonical_json(stream.identity())


_cached_text = lru_cache(maxsize=4096)(_identity_text)
