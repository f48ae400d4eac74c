"""Runs' histories: lines, findings, comparisons, costs."""
