"""Reviews: reading, labelling, splitting, preparing and loading them."""
