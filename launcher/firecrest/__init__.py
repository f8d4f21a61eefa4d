"""FirecREST v2 as a hub needs it: one client a cluster, and one watcher for all jobs of an identity.

Source: https://github.com/eth-cscs/firecrest-v2
"""

from launcher.firecrest.client import Firecrest
from launcher.firecrest.job import JobStatus, Verdict
from launcher.firecrest.watcher import Known, Watcher

__all__ = ["Firecrest", "JobStatus", "Known", "Verdict", "Watcher"]
