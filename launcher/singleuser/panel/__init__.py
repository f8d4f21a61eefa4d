"""What JupyterLab's session panel shows, and what it asks for."""
