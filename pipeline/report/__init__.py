"""What happened, as one self-contained HTML page."""

from pipeline.report.page import NIGHTLY, ReportError, write_nightly, write_report

__all__ = ["NIGHTLY", "ReportError", "write_nightly", "write_report"]
