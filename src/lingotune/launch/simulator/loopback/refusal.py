"""Errors by which the service refuses a call."""

from __future__ import annotations


class Refusal(Exception):
    """Error of the service: its code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
