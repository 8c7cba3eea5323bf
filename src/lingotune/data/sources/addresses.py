"""Addresses of sources that lie elsewhere, and what is wrong with them. No network."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from urllib.parse import parse_qs, unquote, urlsplit

from lingotune.config.quoting import override_text
from lingotune.config.secrets import looks_secret

S3 = "s3://"
_WEB = ("https://", "http://")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/{1,2}")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")

_PAGES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(page), file)
    for page, file in (
        (r"https://github\.com/([^/]+/[^/]+)/(?:blob|raw)/(.+)",
         r"https://raw.githubusercontent.com/\1/\2"),
        (r"https://(?:www\.)?(?:huggingface\.co|hf\.co)/(.+?)/blob/(.+)",
         r"https://huggingface.co/\1/resolve/\2"),
        (r"(https://[^/]*gitlab[^/]*/.+?)/-/blob/(.+)", r"\1/-/raw/\2"),
        (r"https://bitbucket\.org/([^/]+/[^/]+)/src/(.+)", r"https://bitbucket.org/\1/raw/\2"),
        (r"(https://www\.dropbox\.com/.+[?&])dl=0", r"\1dl=1"),
        (r"https://drive\.google\.com/file/d/([\w-]+).*",
         r"https://drive.google.com/uc?export=download&id=\1"),
    )
)  # fmt: skip
"""Pages that show a file -> the file itself."""
_DATASET_PAGE = re.compile(
    r"https://(?:www\.)?(?:huggingface\.co|hf\.co)/datasets/([^/?#]+/[^/?#]+)"
    r"(?:/?|/(?:tree|viewer)(?:/.*)?)(?:[?#].*)?"
)
_S3_HOST = re.compile(
    r"(?:(?P<bucket>[^/]+)\.)?s3(?:[.-](?:dualstack\.)?[a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?"
)
_S3_ARN = re.compile(r"arn:aws[\w-]*:s3:::(.+)")
_CONSOLE = re.compile(r"(?:[\w-]+\.)?console\.(?:aws\.amazon\.com|amazonaws\.cn)")
_TOOLS = {
    "gs": "gcloud storage cp -r {address} FOLDER",
    "gcs": "gcloud storage cp -r {address} FOLDER",
    **dict.fromkeys(("az", "abfs", "abfss", "wasb", "wasbs", "adl"), "azcopy copy HTTPS-ADDRESS FOLDER"),
    **dict.fromkeys(("sftp", "scp", "ssh", "rsync"), "scp HOST:PATH FOLDER"),
    "hdfs": "hdfs dfs -get {address} FOLDER",
    "dbfs": "databricks fs cp -r {address} FOLDER",
    "kaggle": "kaggle datasets download OWNER/NAME --unzip -p FOLDER",
}  # fmt: skip
"""Scheme that is not read -> the command that fetches from there."""
_READ = "a path of this machine, s3://, https:// and hf:// are read"


def is_elsewhere(pattern: str) -> bool:
    """Tell whether a pattern names something that has to be fetched: s3:// or https://."""
    return pattern.startswith((S3, *_WEB))


def is_web(pattern: str) -> bool:
    """Tell an https:// address."""
    return pattern.startswith(_WEB)


def shown_address(address: str) -> str:
    """Return a web address without what may be secret: its user and its query."""
    if not is_web(address):
        return address
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" + ("?..." if parts.query else "")


def address_faults(key: str, pattern: str) -> Iterator[tuple[str, str]]:
    """Yield what keeps a pattern from being read wherever it lies, each with what works instead."""
    scheme = _SCHEME.match(pattern)
    arn = _S3_ARN.fullmatch(pattern)
    if arn:
        yield "is an ARN", override_text(key, S3 + arn[1])
    if scheme is None or pattern.startswith("hf://"):
        return
    name = scheme[1]
    if pattern.startswith(S3):
        if not pattern.removeprefix(S3).partition("/")[0]:
            yield "names no bucket", f"{key}=s3://BUCKET/PREFIX/"
    elif is_web(pattern):
        yield from _web_faults(key, pattern)
    elif pattern.lower().startswith((S3, *_WEB, "hf://")):
        rest = pattern[len(name) :]
        yield "schemes are written in small letters", override_text(key, name.lower() + rest)
    elif name.lower() in ("s3a", "s3n"):
        yield "is Hadoop's name of s3://", override_text(key, S3 + pattern[scheme.end() :])
    elif name.lower() == "file":
        path = unquote("/" + pattern[scheme.end() :].lstrip("/"))
        yield "files of this machine are named by their path", override_text(key, path)
    else:
        if name.lower() in ("ftp", "ftps"):
            file = unquote(urlsplit(pattern).path.rpartition("/")[2]) or "FILE"
            fetch = f"curl -fo {shlex.quote(file)} {shlex.quote(pattern)}"
            yield f"{name}:// is not read; {_READ}", f"{fetch}, then {override_text(key, file)}"
            return
        fetch = _TOOLS.get(name.lower(), "fetch it once").format(address=shlex.quote(pattern))
        yield f"{name}:// is not read; {_READ}", f"{fetch}, then {key}=FOLDER"


def secret_free(key: str, address: str) -> str:
    """Return what works in place of an address that holds a password or a signature."""
    in_bucket = _in_bucket(address)
    if in_bucket:
        return f"{override_text(key, in_bucket)}, with AWS credentials that may read it"
    name = urlsplit(address).path.rpartition("/")[2] or "FILE"
    return f"fetch it once, curl -fLo {shlex.quote(name)} ADDRESS, then {override_text(key, name)}"


def _web_faults(key: str, address: str) -> Iterator[tuple[str, str]]:
    parts = urlsplit(address)
    if looks_secret(f"{key}={address}"):
        return  # told by the check of secrets, without showing it
    raw = raw_form(address)
    in_bucket = _console_place(address)
    if not parts.hostname:
        yield "names no host", f"{key}=https://HOST/FILE"
    elif in_bucket:
        yield "is a page of the AWS console", override_text(key, in_bucket)
    elif raw:
        yield "is a page that shows the file, not the file", override_text(key, raw)
    elif (page := _DATASET_PAGE.fullmatch(address)) is not None:
        what = "is the page of a dataset, not a file"
        yield what, f"{key}=hf://datasets/{page[1]}/FILE"
    elif parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        what = "is not encrypted: whoever is between could change the data unseen"
        yield what, override_text(key, "https" + address.removeprefix("http"))
    elif "*" in parts.path:
        what = "https:// lists no files, so a pattern finds none"
        yield (
            what,
            f"{key}=[https://HOST/A.csv,https://HOST/B.csv], or {key}=s3://BUCKET/PREFIX/*.csv",
        )


def raw_form(address: str) -> str:
    """Return the address of the file that a page of GitHub and the like shows; '' for no such page."""
    for page, file in _PAGES:
        if (found := page.fullmatch(address)) and page.sub(file, address) != address:
            return found.expand(file)
    return ""


def _in_bucket(address: str) -> str:
    """Return the s3:// form of the https:// address of an object; '' if it is none."""
    parts = urlsplit(address)
    host = _S3_HOST.fullmatch(parts.hostname or "")
    if host is None:
        return ""
    path = unquote(parts.path.lstrip("/"))
    return f"{S3}{host['bucket']}/{path}" if host["bucket"] else f"{S3}{path}"


def _console_place(address: str) -> str:
    parts = urlsplit(address)
    if not _CONSOLE.fullmatch(parts.hostname or "") or not parts.path.startswith("/s3/"):
        return ""
    prefix = parse_qs(parts.query).get("prefix", [""])[0]
    return f"{S3}{parts.path.rpartition('/')[2]}/{prefix}"
