"""A stand-in for GitHub, for development and tests only."""
