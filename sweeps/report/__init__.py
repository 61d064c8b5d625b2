"""Report of a sweep: one HTML file, and figures for papers. Needs neither torch nor a cluster."""

from sweeps.report.page import render, report_key, write_report
from sweeps.report.report_inputs import ReportInputs, read_report_inputs, report_inputs_of

__all__ = [
    "ReportInputs",
    "read_report_inputs",
    "render",
    "report_inputs_of",
    "report_key",
    "write_report",
]
