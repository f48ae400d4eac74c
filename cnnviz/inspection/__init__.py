"""Inside a trained network: maps, predictions, cells, edits, attribution, matching."""
