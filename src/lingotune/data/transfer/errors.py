"""Errors of S3, explained by their remedies."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lingotune.config.problems import CLOUD_FAILED, DISK_FAILED, ConfigError, Problem

_WRITES = (
    "s3:PutObject (with aws.tags s3:PutObjectTagging too,"
    " with aws.kms_key kms:GenerateDataKey and kms:Decrypt of that key)"
)
_READS = "s3:GetObject and s3:ListBucket (kms:Decrypt where the objects are encrypted with a key)"
_PERMISSIONS = {
    **dict.fromkeys(("HeadObject", "GetObject"), _READS),
    **dict.fromkeys(
        ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"), _WRITES
    ),
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
}
_REGION = "aws.region=<the bucket's>, or a bucket of this region"
_KEYS = "aws configure, aws sso login, or AWS_PROFILE=..."
_LINE = "a network line to AWS, then the same command"
_MENDS = {
    "NoSuchBucket": "aws.bucket=<one that is there>, or aws s3 mb s3://...",
    **dict.fromkeys(("NoSuchKey", "404"), "prepare and upload it anew"),
    **dict.fromkeys(
        ("301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IncorrectEndpoint",
         "IllegalLocationConstraintException"), _REGION),
    **dict.fromkeys(
        ("ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"), _KEYS),
    "400": f"{_KEYS}; {_REGION}",  # a HEAD has no body that would say more
    "RequestTimeTooSkewed": "the clock of this machine set right",
    "InvalidObjectState": "aws s3api restore-object ..., then the same command: it lies in an archive",
    "SlowDown": "the same command once more: what was moved is kept",
}  # fmt: skip


def mending(operation: str, code: str) -> str:
    """Return the remedy for an error code of an operation; '' if none is known."""
    if code in ("403", "AccessDenied", "Forbidden"):
        return f"a permission: {_PERMISSIONS.get(operation, f's3:{operation}')}"
    if code.startswith("KMS."):
        return "aws.kms_key=<an enabled key of the bucket's region>"
    return _MENDS.get(code, "")


_Mend = Callable[[str, Any], str]
"""Finds what helps by an error's code and its whole response; '' = what `mending` knows."""


@contextmanager
def explained(where: str, mend: _Mend = lambda code, response: "") -> Iterator[None]:
    """Raise errors of botocore, s3transfer and local files as a ConfigError of `where`."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        ConnectionError,
        HTTPClientError,
    )
    from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError

    try:
        yield
    except ClientError as error:
        raise ConfigError([_refusal(where, error, mend)]) from error
    except BotoCoreError as error:
        what = f"no answer from AWS: {error}"
        fix = _LINE if isinstance(error, (ConnectionError, HTTPClientError)) else _KEYS
        raise ConfigError([Problem(where, what, fix, code=CLOUD_FAILED)]) from error
    except S3DownloadFailedError as error:
        what, fix = "was replaced while it was fetched", "the same command once more"
        raise ConfigError([Problem(where, what, fix, code=CLOUD_FAILED)]) from error
    except RetriesExceededError as error:
        what = f"broke off again and again: {error.last_exception}"
        fix = "the same command once more: what was moved is kept"
        raise ConfigError([Problem(where, what, fix, code=CLOUD_FAILED)]) from error
    except OSError as error:
        what = f"{error.filename or 'a file here'}: {error.strerror or error}"
        full = "more room there, then the same command" if error.errno == errno.ENOSPC else ""
        raise ConfigError([Problem(where, what, full, code=DISK_FAILED)]) from error


def _refusal(where: str, error: Any, mend: _Mend) -> Problem:
    said = error.response["Error"]
    fix = mend(said["Code"], error.response) or mending(error.operation_name, said["Code"])
    what = f"AWS refused {error.operation_name}: {said['Code']}: {said.get('Message', '')}"
    return Problem(where, what, fix, code=CLOUD_FAILED)
