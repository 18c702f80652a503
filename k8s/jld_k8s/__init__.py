"""Rolls the system out on a Kubernetes cluster, and looks after it there."""
