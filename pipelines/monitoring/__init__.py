"""What the day looks like: drift and status."""
