"""Languages of texts, detected by py3langid: `data.columns.language=detect`."""

from __future__ import annotations

from lingotune.config.problems import ConfigError, Problem

LIBRARY = "py3langid"
SURE = 0.9
"""Confidence from which on a detected language counts as sure."""


class LanguageDetector:
    """Detector of languages, and how sure it was; ConfigError where the library is not installed."""

    def __init__(self) -> None:
        try:
            from py3langid.langid import MODEL_FILE, LanguageIdentifier
        except ImportError as error:
            what = f"needs {LIBRARY}, which is not installed here"
            fix = "pip install 'lingotune[detect]'"
            raise ConfigError([Problem("data.columns.language=detect", what, fix)]) from error
        self._classify = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True).classify
        self.read = 0
        self.sure = 0

    def language(self, text: str) -> str:
        """Detect the language of a text."""
        code, confidence = self._classify(text)
        self.read += 1
        self.sure += bool(confidence >= SURE)
        return str(code)


def detector_version() -> str:
    """Return the version of the library, which decides on languages; '' where it is not installed."""
    from importlib import metadata  # slow to import, and every plan imports this module

    try:
        return metadata.version(LIBRARY)
    except metadata.PackageNotFoundError:
        return ""
