"""A job in each library's words. Pure."""
