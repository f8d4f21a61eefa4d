"""JupyterHub's database, where the hub's event loop must not wait for it longer than it needs."""
