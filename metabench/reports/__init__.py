"""Reports: one self-contained HTML file."""

from metabench.reports.report import build_report, write_report

__all__ = ["build_report", "write_report"]
