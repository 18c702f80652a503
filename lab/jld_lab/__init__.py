"""JupyterLab for one member: entry point, kernel and announcement."""
