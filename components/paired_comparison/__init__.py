"""Candidate against champion and anchor on the same events: what is lost, and how sure that is."""

from components.paired_comparison.component import PairedComparison

__all__ = ["PairedComparison"]
