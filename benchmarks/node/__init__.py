"""A node on which real single-user servers start, with a small hub in JupyterHub's place."""
