"""The embedded stack: every component a process under supervisord."""
