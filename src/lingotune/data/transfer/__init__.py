"""Objects to S3 and prepared data from it: in parallel, only what is missing, whole or not there.

The transfers are s3transfer's, which boto3 brings: large objects go up in parts, and what fails or is
interrupted is aborted. An object is known by its size and by the SHA-256 that is kept as its metadata.
"""

from lingotune.data.transfer.download import download, fetch, fetch_manifest
from lingotune.data.transfer.model import fetch_model
from lingotune.data.transfer.objects import Transferred
from lingotune.data.transfer.sources import (
    SeenSource,
    fetch_source,
    fetch_sources,
    look_for_sources,
)
from lingotune.data.transfer.upload import MOST_TAGS, upload

__all__ = [
    "MOST_TAGS",
    "SeenSource",
    "Transferred",
    "download",
    "fetch",
    "fetch_manifest",
    "fetch_model",
    "fetch_source",
    "fetch_sources",
    "look_for_sources",
    "upload",
]
