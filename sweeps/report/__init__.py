"""Report of a sweep: one HTML file, and figures for papers. Needs neither torch nor a cluster."""

from sweeps.report.evidence import Evidence, evidence_of, read_evidence
from sweeps.report.page import render, report_key, write_report

__all__ = ["Evidence", "evidence_of", "read_evidence", "render", "report_key", "write_report"]
