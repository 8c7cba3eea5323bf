"""AWS: the only place that writes to it."""
