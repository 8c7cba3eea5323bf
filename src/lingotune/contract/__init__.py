"""What the launcher and the workers agree on."""
