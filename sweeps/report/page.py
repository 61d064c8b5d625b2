"""Rendering of the report as one HTML file that needs no network."""

from __future__ import annotations

import base64
import gzip
import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from clmethods.canonical import JsonValue
from clmethods.version import __version__
from sweeps.report.audit_trail import audit_trail_section
from sweeps.report.configurations import configuration_data
from sweeps.report.cost import cost_section
from sweeps.report.effects import effects_section
from sweeps.report.failed_runs import failures_section
from sweeps.report.formatting import metric_name
from sweeps.report.freezing import freezing_section
from sweeps.report.front import front_section
from sweeps.report.glossary import glossary
from sweeps.report.orders import orders_section
from sweeps.report.page_model import Section
from sweeps.report.path import path_section
from sweeps.report.provenance_section import setting_section
from sweeps.report.report_inputs import ReportInputs, read_report_inputs
from sweeps.report.stopping import declares_rules, stopping_section
from sweeps.report.summary import summary_of

if TYPE_CHECKING:
    from sweeps.definition import Sweep
    from sweeps.storage import ObjectStore

NAME = "report.html"
"""File name of the report, in the folder of the sweep."""


def report_key(sweep: str) -> str:
    """Return the storage key of a sweep's report."""
    return f"sweeps/{sweep}/{NAME}"


def write_report(sweep: Sweep, objects: ObjectStore) -> str:
    """Write the report of a sweep, finished or not, to its storage; return the key."""
    key = report_key(sweep.name)
    objects.put(key, render(read_report_inputs(sweep, objects)).encode())
    return key


def render(inputs: ReportInputs) -> str:
    """Return the report as HTML that contains its styles, scripts and data."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sweeps.report"),
        autoescape=True,  # labels are texts of the user
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    terms = glossary()
    environment.globals["define"] = lambda term: terms[term]
    environment.globals["metric_name"] = metric_name
    sections = sections_of(inputs)
    used = {term for section in sections for term in _terms(section)} | _ALWAYS
    if inputs.finished:
        used |= _EXPLORER
    return environment.get_template("page.html").render(
        inputs=inputs,
        empty=inputs.finished == 0,
        summary=summary_of(inputs) if inputs.finished else None,
        sections=sections,
        terms={term: text for term, text in terms.items() if term in used},
        style=_asset("report.css"),
        script=_asset("report.js"),
        plotly=_plotly() if inputs.finished else "",
        data=gzip_base64(json.dumps(page_data(inputs, sections), separators=(",", ":")).encode()),
        version=__version__,
    )


_ALWAYS = frozenset({"configuration", "run", "readout", "validation", "test", "95 % interval"})

_EXPLORER = frozenset(
    {
        "accuracy matrix",
        "forgetting curve",
        "freeze map",
        "frozen from",
        "forgetting",
        "parallel coordinates",
    }
)
"""Terms of the list of configurations, which has a separate template."""


def sections_of(inputs: ReportInputs) -> list[Section]:
    """Return all sections in page order; a sweep without results has only the last ones."""
    last = [failures_section(inputs), audit_trail_section(inputs), setting_section(inputs)]
    if not inputs.finished:
        return last
    explorer = Section(
        id="configurations",
        title="All configurations",
        short="Configurations",
        lead="Each line is one configuration. Drag along an axis to select a range. Click a line, "
        "a point or a row to open the accuracy matrix of the configuration.",
    )
    return [
        front_section(inputs),
        explorer,
        orders_section(inputs),
        effects_section(inputs),
        path_section(inputs),
        freezing_section(inputs),
        cost_section(inputs),
        *([stopping_section(inputs)] if declares_rules(inputs) else []),
        *last,
    ]


def page_data(inputs: ReportInputs, sections: list[Section]) -> dict[str, JsonValue]:
    """Return the data that the script of the page reads."""
    figures = {figure.id: figure.spec for section in sections for figure in section.figures}
    explorer = configuration_data(inputs) if inputs.finished else None
    return {"figures": figures, "explorer": explorer}


def gzip_base64(data: bytes) -> str:
    """Return bytes as gzip in base64, a third of the size. The script of the page unpacks them."""
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode()


def _terms(section: Section) -> set[str]:
    terms = {term for figure in section.figures for term in figure.terms}
    tables = [figure.table for figure in section.figures] + [t for _, t in section.tables]
    return terms | {column.term for t in tables for column in t.columns if column.term}


def _code(text: str) -> Markup:
    """Return the text as HTML, with words in backquotes as code."""
    parts = [str(escape(part)) for part in text.split("`")]
    quoted = [f"<code>{part}</code>" if k % 2 else part for k, part in enumerate(parts)]
    return Markup("".join(quoted))


def _asset(name: str) -> str:
    return files("sweeps.report").joinpath("assets", name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    """Return Plotly's script, packed. It contains its license."""
    return gzip_base64(files("plotly").joinpath("package_data", "plotly.min.js").read_bytes())
