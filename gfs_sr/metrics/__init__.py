"""Formulas: what a score is. One metric works on arrays; averaging over forecasts is another step."""
