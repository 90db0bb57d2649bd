"""The report of a run: one HTML page from what its folder holds; no TensorFlow."""

from tlkit.report.page import REPORT, write_report, write_side_by_side

__all__ = ["REPORT", "write_report", "write_side_by_side"]
