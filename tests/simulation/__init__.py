"""Whole histories of the system, with faults."""

import os

# Powertools reads it when the function's module is imported. Without it, every run that counts something fails.
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "simulation")
