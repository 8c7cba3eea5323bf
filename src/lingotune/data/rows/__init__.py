"""From records to clean rows."""
