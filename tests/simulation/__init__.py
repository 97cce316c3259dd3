"""Histories of the function on the local AWS, with faults."""

import os

# Read when moto and the function are imported. Without the namespace, each invocation that counts something fails.
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "simulation")
