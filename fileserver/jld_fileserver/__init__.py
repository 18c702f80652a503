"""Provisioner of homes and group folders, and the keepalive writer."""
