"""Jobs that one asyncio program impersonates, so that a hub can have ten thousand of them.

`Crowd` takes the place of the sandbox's scheduler. It runs no batch script: it reads from it what a job
needs, and sends the hub what `launcher-singleuser` and the script would, listens on a port for each job, and
answers what a hub and its proxy ask. No process is started, and a job takes some kilobytes.
"""

from benchmarks.crowd.scheduler import Crowd
from benchmarks.crowd.session import Pace

__all__ = ["Crowd", "Pace"]
