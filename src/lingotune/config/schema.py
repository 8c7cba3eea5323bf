"""TODO: config.schema."""

from __future__ import annotations

NO_LANGUAGE = "und"
"""Language of rows whose source names none: ISO 639's code for undetermined."""


PATTERN_LANGUAGE = "{language}"
"""Key under which a reader puts the language that stood in the pattern, not in a column."""


SPLITS = ("train", "validation", "test")
"""What every job has."""


ALL = "all"
"""In place of a split: one source, out of which all three are carved."""
