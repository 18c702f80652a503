"""The stack in containers, as `make up` starts it where a Docker engine answers."""
