"""Rows as tokenised shards with a manifest."""
