"""JupyterHub with GitHub sign-in: identity, access, image menu and spawners."""
