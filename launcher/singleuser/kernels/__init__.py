"""The kernels of a session: found in its images, virtual environments and programs, each asked what it can.

All but `manager`, which is JupyterLab's side of it, is standard library only.
"""
