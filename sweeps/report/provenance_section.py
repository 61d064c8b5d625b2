"""Report section with the sweep file and the environments of its stages."""

from __future__ import annotations

from clmethods.strict_yaml import yaml_text
from sweeps.presentation.numbers import count
from sweeps.report.page_model import Section, table
from sweeps.report.report_inputs import ReportInputs


def setting_section(inputs: ReportInputs) -> Section:
    """Return the section with sweep file of the last run and environments of the stages."""
    sweep = inputs.sweep
    text = yaml_text(sweep.document)
    names = ("host_kind", "torch_version", "timm_version", "code_version")
    stages = inputs.stages.select(list(names)).to_pylist()
    kinds: dict[tuple[str, ...], int] = {}
    for row in stages:
        key = tuple(row[name] for name in names)
        kinds[key] = kinds.get(key, 0) + 1
    environments = table(
        ["host", "torch", "timm", "code version", "#stages"],
        [[*key, n] for key, n in kinds.items()],
    )
    readouts = ", ".join(r.readout_id for r in sweep.readouts)
    lead = (
        f"{count(inputs.configurations, 'configuration')}, orders by the design "
        f"{sweep.orders.design}, {count(len(sweep.seeds), 'seed')}, readouts {readouts}. The file "
        "below repeats the sweep; stored stages are not trained again."
    )
    return Section(
        id="setting",
        title="Sweep file and environment",
        short="Setup",
        lead=lead,
        tables=(("Environments of the stages", environments),) if environments.rows else (),
        extra={"file": text},
    )
