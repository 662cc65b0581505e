"""Figures, comparisons and latency."""
