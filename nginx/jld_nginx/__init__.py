"""TLS termination in front of the proxy."""
