"""Configuration of readouts: task-ID inference and prediction with a trained chain.

Training never depends on a readout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal

from clmethods.canonical import JsonValue, canonical_json, short_id
from clmethods.config.run import RunConfig
from clmethods.errors import ConfigIssue, finite, refuse, require

READOUT_VERSION = 1
"""Version of readouts, increased when their results change. Evaluations are then recomputed."""

Metric = Literal["corr", "cov", "shared_cov", "cosine", "euclid"]
Storage = Literal["multi_centroid", "covariance", "variance"]

GAUSSIAN_METRICS: tuple[Metric, ...] = ("corr", "cov", "shared_cov")
"""Metrics that fit Gaussian clusters. The other metrics use class means."""
ROWS_PER_CLASS = 512
"""Maximum number of rows of all covariance roots of a class, which bounds the memory of
statistics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianKind:
    """Kind of statistics of the training features. Readouts with equal kinds share statistics."""

    features: Literal["first", "own"]
    """Unit features of the first snapshot, or raw features of the snapshot of the class's own
    task."""
    clusters: int
    """Maximum number of clusters per class."""
    covariance: bool
    """True for a full covariance per cluster, False for variances only."""

    @property
    def name(self) -> str:
        """Prefix of the names of the tensors with these statistics."""
        return f"{self.features}-{'full' if self.covariance else 'diagonal'}-{self.clusters}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutConfig:
    """Task-ID inference and task-adaptive prediction (docs/method.md section 5)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    routing: Literal["last", "instance", "batch", "oracle"] = "last"
    """Selection of the snapshot for an image. `last`: the last snapshot for all images;
    `instance`: the task is inferred per image; `batch`: the task is inferred by majority vote over
    test batches of one task, which leaks the task; `oracle`: the true task."""
    metric: Metric = "cosine"
    """Distance between features of the first snapshot, for task-ID inference. Mahalanobis distance
    to clusters in correlation form (`corr`, as in the public code), with their covariance (`cov`),
    or with a common covariance (`shared_cov`); cosine or Euclidean distance to class means
    (`cosine`, `euclid`)."""
    clusters: int = 4
    """Number of k-means clusters per class. It is lowered if clusters would be too small."""
    shrinkage_diag: float = 1.0
    """Fraction of the mean variance that is added to every variance."""
    shrinkage_off: float = 0.0
    """Fraction of the mean covariance that is added to every covariance."""
    batch_size: int = 64
    """Number of images per vote, in the order of the dataset."""
    tap: bool = False
    """Task-adaptive prediction: align a copy of the head with all classes, on features that are
    sampled from the Gaussians of the classes."""
    tap_steps: Literal["ours", "ref"] = "ours"
    """Steps per epoch: one per class seen, class-balanced (`ours`); one per old class (`ref`)."""
    tap_mix: Literal["size", "uniform"] = "size"
    """Sampling of the clusters of a class: by their sizes, or uniform (as in the public code)."""
    tap_storage: Storage = "multi_centroid"
    """Statistics stored per class: clusters with variances, one covariance, or one variance."""
    tap_clusters: int = 10
    """Number of k-means clusters per class for `multi_centroid`."""
    tap_epochs: int = 50
    tap_lr: float = 5e-3
    """Initial learning rate of SGD with momentum 0.9, weight decay 5e-4 and a cosine schedule to
    0."""
    tap_restore: bool = True
    """True starts the alignment from the trained head at every task; False continues from the
    previous aligned head."""

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
                    "With a larger value, a covariance may not be positive definite.",
                ),
                require(self.batch_size >= 1, "batch_size", self.batch_size, "1 or more"),
                require(self.tap_clusters >= 1, "tap_clusters", self.tap_clusters, "1 or more"),
                require(self.tap_epochs >= 0, "tap_epochs", self.tap_epochs, "0 or more"),
                require(self.tap_lr > 0, "tap_lr", self.tap_lr, "greater than 0"),
            ]
        )

    def _idle(self, names: Sequence[str], acts: bool, condition: str) -> list[ConfigIssue | None]:
        """Return the issues of fields that were given but have no effect in this readout."""
        return [
            require(
                acts or getattr(self, name) == _DEFAULTS[name],
                name,
                getattr(self, name),
                f"to be left out unless {condition}",
            )
            for name in names
        ]

    def issues_in(self, run: RunConfig) -> list[ConfigIssue]:
        """Return the issues of this readout for `run`; empty if it can be used."""
        method = run.method
        issues = [
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
                "Task-adaptive prediction requires a linear head that is trained task after task.",
            ),
            require(
                self.tap_restore or method.head == "none" or _head_settles(run),
                "tap_restore",
                self.tap_restore,
                f"true for {method.kind} on this stream",
                "Its training uses head rows of earlier tasks and would continue from the aligned "
                "head, but a readout must not affect training.",
            ),
        ]
        return [issue for issue in issues if issue is not None]

    @property
    def route(self) -> Literal["last", "instance", "batch", "oracle"]:
        """Routing in effect: `batch` with a batch size of 1 is `instance`."""
        return "instance" if self.routing == "batch" and self.batch_size == 1 else self.routing

    @property
    def infers(self) -> bool:
        """True if the task of an image is inferred."""
        return self.routing in {"instance", "batch"}

    @property
    def adapts(self) -> bool:
        """True if the head is aligned, from the second task on."""
        return self.tap and self.tap_epochs > 0

    @property
    def task_id_kind(self) -> GaussianKind | None:
        """Statistics that the routing needs; None if it needs no statistics."""
        if not self.infers:
            return None
        gaussian = self.metric in GAUSSIAN_METRICS
        clusters = self.clusters if gaussian else 1
        return GaussianKind(features="first", clusters=clusters, covariance=gaussian)

    @property
    def tap_kind(self) -> GaussianKind | None:
        """Statistics that task-adaptive prediction samples from; None without alignment."""
        if not self.adapts:
            return None
        clusters = self.tap_clusters if self.tap_storage == "multi_centroid" else 1
        full = self.tap_storage == "covariance"
        return GaussianKind(features="own", clusters=clusters, covariance=full)

    @property
    def task_id_effect(self) -> dict[str, JsonValue]:
        """Settings that act on the inferred tasks, before any vote; always with the metric."""
        acts: dict[str, JsonValue] = {"metric": self.metric if self.infers else "cosine"}
        if self.infers and self.metric in GAUSSIAN_METRICS:
            acts["clusters"] = self.clusters
            acts["shrinkage"] = [self.shrinkage_diag, self.shrinkage_off]
        return acts

    @property
    def routing_alone(self) -> ReadoutConfig:
        """Readout with the same routing, without task-adaptive prediction."""
        plain = {name: value for name, value in _DEFAULTS.items() if name.startswith("tap")}
        return replace(self, **plain)

    @property
    def tap_effect(self) -> dict[str, JsonValue]:
        """Settings that act on the aligned head; empty if the head is not aligned."""
        kind = self.tap_kind
        if kind is None:
            return {}
        acts: dict[str, JsonValue] = {
            "kind": kind.name,
            "steps": self.tap_steps,
            "epochs": self.tap_epochs,
            "lr": self.tap_lr,
            "restore": self.tap_restore,
        }
        return acts | {"mix": self.tap_mix} if kind.clusters > 1 else acts

    @property
    def readout_id(self) -> str:
        """Readable id, such as `last`, `instance-cosine`, `batch-corr-k2` or `oracle-tap-e5`.

        Defaults are omitted. Readouts have the same id if and only if they have the same effect.
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
    def effect(self) -> dict[str, JsonValue]:
        """Settings that act, in canonical form."""
        acts: dict[str, JsonValue] = {"routing": self.route, **self.task_id_effect}
        if self.route == "batch":
            acts["batch_size"] = self.batch_size
        return acts | {"tap": self.tap_effect} if self.adapts else acts

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the effect, part of the key under which evaluations are stored."""
        return short_id({"readout": self.effect, "version": READOUT_VERSION})


def _head_settles(run: RunConfig) -> bool:
    """Return True if only the task of a class uses and changes the head's row of the class."""
    labels = [label for group in run.stream.groups() for label in group.classes]
    return run.method.head == "settled" and len(set(labels)) == len(labels)


_DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(ReadoutConfig)}


def is_upper_bound(readout_id: str) -> bool:
    """Return True if the readout uses the true task.

    Its results are upper bounds for comparison, and it must never be selected.
    """
    return readout_id.split("-")[0] == "oracle"


def is_batch_wise(readout_id: str) -> bool:
    """Return True if test images of one task vote together.

    Its results must never be compared with those of other readouts.
    """
    return readout_id.split("-")[0] == "batch"


def readout_notes(readout_id: str) -> list[str]:
    """Return the notes that must accompany all reported results of a readout."""
    first, *rest = readout_id.split("-")
    notes: list[str] = []
    if is_upper_bound(readout_id):
        notes.append("uses the true task: an upper bound")
    if is_batch_wise(readout_id):
        notes.append(
            "batch-wise: test images of one task vote together, which leaks the task; "
            "not comparable with instance-wise results"
        )
    if first == "last" and "tap" in rest:
        notes.append("the head is aligned with statistics of old classes from older snapshots")
    return notes
