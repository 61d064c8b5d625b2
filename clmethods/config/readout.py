"""How predictions are read from a trained chain; training never depends on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

from clmethods.canonical import canonical_json, short_id
from clmethods.config.run import RunConfig
from clmethods.errors import ConfigIssue, finite, refuse, require

READOUT_VERSION = 1
"""Bumped when a readout's meaning changes: its evaluations are then computed anew."""

Metric = Literal["corr", "cov", "shared_cov", "cosine", "euclid"]
Storage = Literal["multi_centroid", "covariance", "variance"]

GAUSSIAN_METRICS: tuple[Metric, ...] = ("corr", "cov", "shared_cov")
"""Metrics that fit Gaussian clusters; the others compare with class means."""
ROWS_PER_CLASS = 512
"""Rows of all covariance roots of a class together; it bounds what statistics take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianKind:
    """Which statistics of the training features a readout reads; equal kinds share them."""

    features: Literal["first", "own"]
    """Unit features under the first snapshot, or raw ones under that of the class's own task."""
    clusters: int
    """At most this many per class."""
    covariance: bool
    """A whole covariance per cluster, or variances alone."""

    @property
    def name(self) -> str:
        """Prefix of the tensors that hold such statistics."""
        return f"{self.features}-{'full' if self.covariance else 'diagonal'}-{self.clusters}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutConfig:
    """Task-ID inference and task-adaptive prediction (docs/method.md section 5)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    routing: Literal["last", "instance", "batch", "oracle"] = "last"
    """`last` snapshot for all, `instance`: inferred per image, `batch`: by majority vote over
    test batches of one task, which leaks the task, `oracle`: the true task."""
    metric: Metric = "cosine"
    """Distance of first-snapshot features, for task-ID inference: Mahalanobis to clusters in
    correlation form (`corr`, the public code's), by their covariance (`cov`) or by one for all
    (`shared_cov`); angle or Euclidean distance to class means (`cosine`, `euclid`)."""
    clusters: int = 4
    """k-means clusters per class; fewer where they would be too small."""
    shrinkage_diag: float = 1.0
    """Share of the mean variance added to every variance."""
    shrinkage_off: float = 0.0
    """Share of the mean covariance added to every covariance."""
    batch_size: int = 64
    """Images that vote together, in the order of the dataset."""
    tap: bool = False
    """Task-adaptive prediction: align a copy of the head to all classes on features drawn from
    their Gaussians."""
    tap_steps: Literal["ours", "ref"] = "ours"
    """Steps an epoch: one per class seen, class-balanced, or one per old class (`ref`)."""
    tap_mix: Literal["size", "uniform"] = "size"
    """How a class's clusters are drawn: by their sizes, or all alike (the public code)."""
    tap_storage: Storage = "multi_centroid"
    """What is kept of a class: clusters with variances, one covariance, or one variance."""
    tap_clusters: int = 10
    """k-means clusters per class of `multi_centroid`."""
    tap_epochs: int = 50
    tap_lr: float = 5e-3
    """Initial rate of SGD with momentum 0.9 and decay 5e-4; a cosine takes it to 0."""
    tap_restore: bool = True
    """Start from the trained head at every task; False goes on from the last aligned one."""

    def __post_init__(self) -> None:
        batch = ("batch_size",)
        inference = ("metric", "clusters", "shrinkage_diag", "shrinkage_off")
        tap = tuple(name for name in _DEFAULTS if name.startswith("tap_"))
        storage = ("tap_clusters", "tap_mix")
        refuse(
            [
                *finite(self),
                *self._idle(batch, self.routing == "batch", "routing is `batch`"),
                *(
                    self._idle(inference, False, "routing is `instance` or `batch`")
                    if self.routing in {"last", "oracle"}
                    else self._idle(
                        inference[1:],
                        self.metric in GAUSSIAN_METRICS,
                        f"metric is one of {list(GAUSSIAN_METRICS)}",
                    )
                ),
                *self._idle(tap, self.tap, "tap is true"),
                *(
                    self._idle(
                        storage,
                        self.tap_storage == "multi_centroid",
                        "tap_storage is `multi_centroid`",
                    )
                    if self.tap
                    else []
                ),
                require(self.clusters >= 1, "clusters", self.clusters, "1 or more"),
                require(
                    self.shrinkage_diag >= 0, "shrinkage_diag", self.shrinkage_diag, "0 or more"
                ),
                require(
                    0 <= self.shrinkage_off <= self.shrinkage_diag,
                    "shrinkage_off",
                    self.shrinkage_off,
                    f"from 0 to shrinkage_diag, {self.shrinkage_diag:g}",
                    "Beyond it a covariance need not stay positive definite.",
                ),
                require(self.batch_size >= 1, "batch_size", self.batch_size, "1 or more"),
                require(self.tap_clusters >= 1, "tap_clusters", self.tap_clusters, "1 or more"),
                require(self.tap_epochs >= 0, "tap_epochs", self.tap_epochs, "0 or more"),
                require(self.tap_lr > 0, "tap_lr", self.tap_lr, "greater than 0"),
            ]
        )

    def _idle(self, names: Sequence[str], acts: bool, condition: str) -> list[ConfigIssue | None]:
        """Faults of fields that were given although they do nothing here."""
        return [
            require(
                acts or getattr(self, name) == _DEFAULTS[name],
                name,
                getattr(self, name),
                f"to be left out unless {condition}",
            )
            for name in names
        ]

    def faults_in(self, run: RunConfig) -> list[ConfigIssue]:
        """Why `run` cannot be read in this way; empty if it can."""
        method = run.method
        found = [
            require(
                self.routing in method.ROUTINGS,
                "routing",
                self.routing,
                f"one of {list(method.ROUTINGS)}, the routings of {method.kind}",
            ),
            require(
                not self.tap or (method.head != "none" and not method.ORDER_FREE),
                "tap",
                self.tap,
                f"false for {method.kind}",
                "Task-adaptive prediction aligns a linear head that learns task after task.",
            ),
            require(
                self.tap_restore or method.head == "none" or _head_settles(run),
                "tap_restore",
                self.tap_restore,
                f"true for {method.kind} on this stream",
                "Its training reads head rows of earlier tasks, so it would go on from the "
                "aligned head, and readouts never reach training.",
            ),
        ]
        return [issue for issue in found if issue is not None]

    @property
    def route(self) -> Literal["last", "instance", "batch", "oracle"]:
        """The routing in effect: a batch of one image votes for itself."""
        return "instance" if self.routing == "batch" and self.batch_size == 1 else self.routing

    @property
    def infers(self) -> bool:
        """Whether the task of an image is inferred."""
        return self.routing in {"instance", "batch"}

    @property
    def adapts(self) -> bool:
        """Whether the head is aligned, from the second task on."""
        return self.tap and self.tap_epochs > 0

    @property
    def task_id_kind(self) -> GaussianKind | None:
        """Statistics that the routing needs."""
        if not self.infers:
            return None
        gaussian = self.metric in GAUSSIAN_METRICS
        clusters = self.clusters if gaussian else 1
        return GaussianKind(features="first", clusters=clusters, covariance=gaussian)

    @property
    def tap_kind(self) -> GaussianKind | None:
        """Statistics that task-adaptive prediction draws from."""
        if not self.adapts:
            return None
        clusters = self.tap_clusters if self.tap_storage == "multi_centroid" else 1
        whole = self.tap_storage == "covariance"
        return GaussianKind(features="own", clusters=clusters, covariance=whole)

    @property
    def task_id_effect(self) -> dict[str, Any]:
        """What acts on the inferred tasks, before any vote; the metric is spelt out always."""
        acts: dict[str, Any] = {"metric": self.metric if self.infers else "cosine"}
        if self.infers and self.metric in GAUSSIAN_METRICS:
            acts["clusters"] = self.clusters
            acts["shrinkage"] = [self.shrinkage_diag, self.shrinkage_off]
        return acts

    @property
    def routing_alone(self) -> ReadoutConfig:
        """The same way through the snapshots, with their own head."""
        plain = {name: value for name, value in _DEFAULTS.items() if name.startswith("tap")}
        return replace(self, **plain)

    @property
    def tap_effect(self) -> dict[str, Any]:
        """What acts on the aligned head; empty if there is none."""
        kind = self.tap_kind
        if kind is None:
            return {}
        acts: dict[str, Any] = {
            "kind": kind.name,
            "steps": self.tap_steps,
            "epochs": self.tap_epochs,
            "lr": self.tap_lr,
            "restore": self.tap_restore,
        }
        return acts | {"mix": self.tap_mix} if kind.clusters > 1 else acts

    @property
    def readout_id(self) -> str:
        """Readable and unique: `last`, `instance-cosine`, `batch-corr-k2`, `oracle-tap-e5`.

        Defaults are left out. Readouts of equal effect have one id, others have different ones.
        """
        return "-".join([self.route, *self._task_id_words(), *self._tap_words()])

    def _task_id_words(self) -> list[str]:
        if not self.infers:
            return []
        words: list[str] = [self.metric]
        words += [f"k{self.clusters}"] * (self.clusters != _DEFAULTS["clusters"])
        for name, letter in (("shrinkage_diag", "g"), ("shrinkage_off", "o")):
            value = getattr(self, name)
            words += [f"{letter}{canonical_json(value)}"] * (value != _DEFAULTS[name])
        if self.route == "batch" and self.batch_size != _DEFAULTS["batch_size"]:
            words.append(f"b{self.batch_size}")
        return words

    def _tap_words(self) -> list[str]:
        kind = self.tap_kind
        if kind is None:
            return []
        words = ["tap"]
        if kind.clusters == 1:
            words.append("covariance" if kind.covariance else "variance")
        else:
            words += [f"k{kind.clusters}"] * (kind.clusters != _DEFAULTS["tap_clusters"])
            words += [self.tap_mix] * (self.tap_mix != _DEFAULTS["tap_mix"])
        words += [self.tap_steps] * (self.tap_steps != _DEFAULTS["tap_steps"])
        words += [f"e{self.tap_epochs}"] * (self.tap_epochs != _DEFAULTS["tap_epochs"])
        words += [f"lr{canonical_json(self.tap_lr)}"] * (self.tap_lr != _DEFAULTS["tap_lr"])
        return words if self.tap_restore else [*words, "chain"]

    @property
    def effect(self) -> dict[str, Any]:
        """What acts, in canonical form."""
        acts: dict[str, Any] = {"routing": self.route, **self.task_id_effect}
        if self.route == "batch":
            acts["batch_size"] = self.batch_size
        return acts | {"tap": self.tap_effect} if self.adapts else acts

    @property
    def fingerprint(self) -> str:
        """Part of the key under which evaluations of a stage are stored."""
        return short_id({"readout": self.effect, "version": READOUT_VERSION})


def _head_settles(run: RunConfig) -> bool:
    """Whether the head's rows of a class are read and moved by the task alone that brings it."""
    labels = [label for group in run.stream.groups() for label in group.classes]
    return run.method.head == "settled" and len(set(labels)) == len(labels)


_DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(ReadoutConfig)}


def is_upper_bound(readout_id: str) -> bool:
    """Whether the readout is told the true task: a line to compare with, never a choice."""
    return readout_id.split("-")[0] == "oracle"


def is_batch_wise(readout_id: str) -> bool:
    """Whether test images of one task vote together; never to be mixed with other readouts."""
    return readout_id.split("-")[0] == "batch"


def readout_notes(readout_id: str) -> list[str]:
    """What must be said wherever figures of a readout are shown."""
    first, *rest = readout_id.split("-")
    notes: list[str] = []
    if is_upper_bound(readout_id):
        notes.append("told the true task: an upper bound")
    if is_batch_wise(readout_id):
        notes.append(
            "batch-wise: test images of one task vote together, which leaks the task; "
            "not comparable with instance-wise figures"
        )
    if first == "last" and "tap" in rest:
        notes.append("the head is aligned with statistics of old classes under older snapshots")
    return notes
