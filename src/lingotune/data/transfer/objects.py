"""Objects of a transfer, and its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

AT_ONCE = 8
"""Requests, and files being hashed, at a time."""
PART = 16 << 20
"""Bytes from which an object goes in parts: a shard seldom does, so that little is left half-sent."""


@dataclass(frozen=True)
class Transferred:
    """Result of a transfer: objects and bytes moved, and those already there. seconds: in total."""

    objects: int
    bytes: int
    there: int
    seconds: float

    def __str__(self) -> str:
        rate = f", {self.bytes / self.seconds / 1e6:.1f} MB/s" if self.objects else ""
        return (
            f"{self.objects} objects, {self.bytes / 1e6:.1f} MB in {self.seconds:.1f} s{rate};"
            f" {self.there} were there"
        )


def split_uri(uri: str) -> tuple[str, str]:
    """Split an s3:// URI into bucket and key."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


class Counted:
    """Subscriber of s3transfer that reports bytes as they are moved."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance

    def on_progress(self, future: Any, bytes_transferred: int, **_: Any) -> None:
        """Negative where a part has to be sent once more."""
        self._advance(bytes_transferred)


def manager(s3: Any) -> Any:
    """A TransferManager for a boto3 client: a context that on its way out waits for all, and after an
    error or Ctrl-C cancels all and aborts what was sent in parts."""
    from s3transfer.manager import (
        TransferConfig,
        TransferManager,
    )

    config = TransferConfig(
        multipart_threshold=PART, multipart_chunksize=PART // 2, max_request_concurrency=AT_ONCE
    )
    return TransferManager(s3, config)
