"""Scores of what is shipped: against the truth, and against every interpolation."""
