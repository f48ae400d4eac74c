"""What runs' histories show: curves, findings, comparisons, costs."""
