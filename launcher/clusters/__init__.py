"""A cluster file becomes a checked model, and with a user's options one batch script."""

from launcher.clusters.files import load_cluster
from launcher.clusters.model import Cluster, Firecrest, Partition
from launcher.clusters.options import LaunchRequest, options_from_form, parse_options
from launcher.clusters.script import JOB_NAME, LaunchFacts, log_path, render

__all__ = [
    "JOB_NAME",
    "Cluster",
    "Firecrest",
    "LaunchFacts",
    "LaunchRequest",
    "Partition",
    "load_cluster",
    "log_path",
    "options_from_form",
    "parse_options",
    "render",
]
