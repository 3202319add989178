"""Closed months: the files that keep them, and the adjustments for evidence that arrived later."""
