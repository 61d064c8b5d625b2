"""`sweeps.Sweep`: a sweep that is written in Python, with the content of a sweep file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, final

from clmethods.errors import ConfigIssue, InvalidConfigError

if TYPE_CHECKING:
    from sweeps.definition.sweep import Sweep as DefinedSweep

Section = Mapping[str, object]


@final
class Sweep:
    """Sweep with the fields of a sweep file, validated when it is created.

    `sweeps schema` and sweeps/README.md describe the fields. A field that is None has its default.

    Example::

        sweep = sweeps.Sweep(
            name="my-sweep",
            backbone={"name": "nano_vit32", "weights": "shipped", "image_size": 16},
            stream={"dataset": "digits", "tasks": 5},
            method={"kind": "lorac_ipc", "rank": 4, "lora_alpha": 4},
            train={"epochs": 5, "batch_size": 64, "lr": 0.005},
            search={"method.importance_threshold": [0, 0.05, 0.2]},
            orders={"design": "williams"},
            seeds=[0, 1, 2],
        )
        result = sweeps.run(sweep, "runs/mine")

    Raises:
        InvalidConfigError: With all issues: field, value, what is allowed, and how to fix it.
    """

    __slots__ = ("_definition",)

    def __init__(
        self,
        *,
        name: str,
        extends: str | None = None,
        backbone: Section | None = None,
        stream: Section | None = None,
        method: Section | None = None,
        train: Section | None = None,
        search: Mapping[str, object] | None = None,
        where: Sequence[str] | None = None,
        ablation: Section | None = None,
        baselines: Sequence[Section] | None = None,
        readouts: Sequence[Section] | None = None,
        orders: Section | None = None,
        seeds: Sequence[int] | None = None,
        replicates: Section | None = None,
        algorithm: Section | None = None,
        objectives: Mapping[str, str] | None = None,
        early_stop: Section | None = None,
        racing: Section | None = None,
        resources: Section | None = None,
        retries: Section | None = None,
        logging: Section | None = None,
        budget: Section | None = None,
        storage: Section | None = None,
    ) -> None:
        """Validate the fields; `storage` holds the access to a storage, not its location."""
        from sweeps.definition import sweep_from_dict

        fields = {
            "name": name,
            "extends": extends,
            "backbone": backbone,
            "stream": stream,
            "method": method,
            "train": train,
            "search": search,
            "where": where,
            "ablation": ablation,
            "baselines": baselines,
            "readouts": readouts,
            "orders": orders,
            "seeds": seeds,
            "replicates": replicates,
            "algorithm": algorithm,
            "objectives": objectives,
            "early_stop": early_stop,
            "racing": racing,
            "resources": resources,
            "retries": retries,
            "logging": logging,
            "budget": budget,
            "storage": storage,
        }
        given = {field: value for field, value in fields.items() if value is not None}
        self._definition = sweep_from_dict(given)

    @classmethod
    def read(cls, source: str | Path | Mapping[str, object]) -> Self:
        """Return the sweep of a file, of a shipped study (such as `digits_demo`) or of a dict.

        Raises:
            InvalidConfigError: With all issues of the source.
        """
        from sweeps.definition import load_sweep, shipped_studies, sweep_from_dict

        if isinstance(source, Mapping):
            return cls._of(sweep_from_dict(source))
        studies = shipped_studies()
        return cls._of(load_sweep(studies.get(str(source), Path(source))))

    @classmethod
    def _of(cls, definition: DefinedSweep) -> Self:
        sweep = cls.__new__(cls)
        sweep._definition = definition
        return sweep

    @property
    def definition(self) -> DefinedSweep:
        """Validated and resolved sweep, from which trials and plans are derived."""
        return self._definition

    @property
    def name(self) -> str:
        """Name of the sweep, and of its folder in a storage."""
        return self._definition.name

    def to_dict(self) -> dict[str, Any]:
        """Return the sweep as plain data, which `Sweep.read` accepts."""
        from sweeps.definition.file.plain_data import plain

        document = plain(self._definition.document, "", [])
        return dict(document) if isinstance(document, dict) else {}

    def write(self, path: str | Path) -> None:
        """Write a new sweep file for `sweeps plan` and `sweeps run`.

        Raises:
            InvalidConfigError: If the path does not end in .yaml.
            FileExistsError: If the file exists; nothing is overwritten.
        """
        from clmethods.strict_yaml import yaml_text

        file = Path(path)
        if file.suffix not in {".yaml", ".yml"}:
            raise InvalidConfigError([ConfigIssue("path", str(path), "a path that ends in .yaml")])
        with file.open("x", encoding="utf-8") as output:
            output.write(yaml_text(self.to_dict()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sweep):
            return NotImplemented
        return self._definition.document == other._definition.document

    __hash__ = None  # type: ignore[assignment]  # it holds dictionaries

    def __repr__(self) -> str:
        sweep = self._definition
        stream = sweep.base.stream
        searched = sum(each.role == "search" for each in sweep.configurations)
        others = len(sweep.configurations) - searched
        proposed = f"{sweep.algorithm.trials} settings by {sweep.algorithm.kind}"
        search = f"{searched} configurations" if searched else proposed
        axes = ", ".join(axis.path for axis in sweep.axes) or "no axis"
        orders = "not measured yet" if sweep.unmeasured else f"{len(sweep.task_orders)}"
        return "\n".join(
            [
                f"sweep {sweep.name!r}: {stream.dataset}, {stream.tasks} tasks, "
                f"{sweep.base.backbone.name}",
                f"  search      {search} over {axes}",
                f"  baselines   {others}",
                f"  replicates  task orders: {orders} ({sweep.orders.design}); "
                f"seeds: {', '.join(map(str, sweep.seeds))}",
                f"  readouts    {', '.join(r.readout_id for r in sweep.readouts)}",
                f"  objectives  {', '.join(f'{n} ({d})' for n, d in sweep.objectives.items())}",
            ]
        )
