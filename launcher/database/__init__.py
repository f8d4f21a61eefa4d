"""What the launcher keeps in JupyterHub's database, for which the event loop waits no longer than it must."""
