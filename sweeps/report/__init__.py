"""The report: one HTML file that answers a sweep, and figures for papers. No torch, no cluster."""

from sweeps.report.evidence import Evidence, evidence_of, read_evidence
from sweeps.report.page import render, report_key, write_report

__all__ = ["Evidence", "evidence_of", "read_evidence", "render", "report_key", "write_report"]
