"""Reviews: where they come from, what their columns mean, and how they are split."""
