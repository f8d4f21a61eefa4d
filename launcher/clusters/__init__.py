"""A cluster file becomes a checked model, and with a user's options one batch script."""

from launcher.clusters.cluster_file import ClusterFile
from launcher.clusters.fields import Field, UserAccounts, duration, fields
from launcher.clusters.files import load_cluster
from launcher.clusters.model import Cluster
from launcher.clusters.options import options_from_form, parse_options
from launcher.clusters.request import LaunchRequest
from launcher.clusters.script import JOB_NAME, LaunchFacts, log_path
from launcher.yaml_file.seen import Seen

__all__ = [
    "JOB_NAME",
    "Cluster",
    "ClusterFile",
    "Field",
    "LaunchFacts",
    "LaunchRequest",
    "Seen",
    "UserAccounts",
    "duration",
    "fields",
    "load_cluster",
    "log_path",
    "options_from_form",
    "parse_options",
]
