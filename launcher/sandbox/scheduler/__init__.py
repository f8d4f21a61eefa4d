"""What runs the sandbox's jobs: a private Slurm, or plain processes that behave like one."""

from launcher.sandbox.scheduler.model import (
    CancelRefused,
    Job,
    JobState,
    Node,
    Partition,
    Scheduler,
    Submission,
    SubmitRefused,
)

__all__ = [
    "CancelRefused",
    "Job",
    "JobState",
    "Node",
    "Partition",
    "Scheduler",
    "Submission",
    "SubmitRefused",
]
