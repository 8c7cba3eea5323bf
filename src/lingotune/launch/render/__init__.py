"""A job in the form that each library expects. Pure."""
