"""What happened, as one self-contained HTML page."""

from pipeline.report.page import ReportError, write_report

__all__ = ["ReportError", "write_report"]
