"""Files, the hub and the sample: where records come from."""
