"""What happened, as one self-contained HTML page."""

from pipeline.monitoring.report.page import NIGHTLY, ReportError, write_report

__all__ = ["NIGHTLY", "ReportError", "write_report"]
