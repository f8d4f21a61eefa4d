"""JupyterLab on the compute nodes of an HPC cluster, started through FirecREST and Slurm."""

__version__ = "0.1.0"
