"""A gateway with the paths, answers, status codes and oddities of a FirecREST v2 server (2.5.7 line).

Protocol facts: recordings of a real server over ssh to a real Slurm 22.05, and `src/firecrest/*/router.py`
of eth-cscs/firecrest-v2 for what those don't show. It serves what a spawner needs, and what an admin would
try with pyfirecrest: the status of the system, jobs, and looking at files.
"""

from launcher.sandbox.faults import Answer, Dropped, Fault
from launcher.sandbox.gateway.app import Gateway
from launcher.sandbox.gateway.faults import Faults

__all__ = ["Answer", "Dropped", "Fault", "Faults", "Gateway"]
