"""Make src/lingotune/config/facts/secrets.json: the forms of tokens and keys, as regular expressions.

    python tools/secret_forms.py [gitleaks.toml]

Most come from gitleaks' rules (tools/gitleaks.toml is a copy of its config/gitleaks.toml, under the
MIT licence in tools/gitleaks.LICENSE). They are written for Go and for searching source code:

- Go's syntax becomes Python's, and each form is to end where its characters end, be it at a comma.
- Rules for bare hexadecimal or letters beside a company's name are left out: in a config the name
  is one thing and the value another, and facebook, twitter or yandex name datasets and models.
- Rules for anything random beside `key`, `token` or `auth` are left out likewise.

`OURS` adds forms that gitleaks has not, and replaces those of the same name.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomllib

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "src" / "lingotune" / "config" / "facts" / "secrets.json"
GITLEAKS = HERE / "gitleaks.toml"
SOURCES = (
    "gitleaks config/gitleaks.toml at b58d3f10 (MIT, Copyright (c) 2019 Zachary Rice),"
    " translated and completed by tools/secret_forms.py"
)

_BESIDE_A_NAME = r"(?:=|>|:{1,3}=|\|\||:|=>|\?=|,)"
"""What gitleaks puts between a name and a value that says nothing by itself."""
_END = r"""(?:[\x60'"\s;]|\\[nr]|$)"""
_LEFT_OUT = {
    "curl-auth-header", "curl-auth-user",  # long, for scripts
    "kubernetes-secret-yaml",  # any base64 in a file of kind: Secret
    "sourcegraph-access-token",  # any git commit
    "facebook-access-token",  # digits with % or |
}  # fmt: skip

_NOT_BEFORE = r"(?<![A-Za-z0-9])"
_NOT_AFTER = r"(?![A-Za-z0-9_-])"
_VALUE = r"""["']?\s{0,3}[:=]\s{0,3}["']?"""

OURS: dict[str, dict[str, Any]] = {
    "huggingface-access-token": {
        "regex": rf"{_NOT_BEFORE}hf_[A-Za-z0-9]{{30,}}", "keywords": ["hf_"],
    },
    # whole ones have 34 letters; what is shorter may be a name in words, such as hf_reviewsclassifier
    "huggingface-access-token-cut": {
        "regex": rf"{_NOT_BEFORE}hf_[A-Za-z0-9]{{24,29}}(?![A-Za-z0-9])", "keywords": ["hf_"],
        "entropy": 4,
    },
    "aws-access-token": {
        "regex": rf"{_NOT_BEFORE}(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{{16}}(?![0-9A-Za-z])",
        "keywords": ["akia", "asia", "abia", "acca"],
    },
    # 40 letters that nothing marks but their name
    "aws-secret-access-key": {
        "regex": rf"(?i)secret_?(?:access_?)?key{_VALUE}(?P<secret>[A-Za-z0-9/+]{{40}})(?![A-Za-z0-9/+=])",
        "keywords": ["secretkey", "secret_key", "secretaccess", "secret_access"],
    },
    # without the name: 40 letters between others, mixed as by chance
    "aws-secret-access-key-bare": {
        "regex": r"(?<![\w+/.-])[A-Za-z0-9/+]{40}(?![\w+/=.-])", "keywords": [""],
        "many_lines": True, "entropy": 4, "random": True,
    },
    # Weights & Biases' and others' keys look like git's commits, which are named as such
    "hexadecimal-key": {
        # first what hardly any line has: a program has thousands with =
        "regex": r"(?im)^(?=[\w.\[\]-]+=['\"]?[0-9a-f]{40}['\"]?$)(?![^=\n]*(?:revision|commit|remote_code"
        r"|git|sha|digest|hash|version|checksum|etag|build|ref))"
        r"[\w.\[\]-]+=['\"]?(?P<secret>(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{40})",
        "keywords": ["="], "entropy": 3, "many_lines": True,
    },
    "aws-session-token": {
        "regex": rf"(?i)session_?token{_VALUE}(?P<secret>[A-Za-z0-9/+=]{{100,}})",
        "keywords": ["sessiontoken", "session_token"],
    },
    "presigned-url": {
        "regex": r"(?i)X-(?:Amz|Goog)-(?:Signature|Security-Token)=(?P<secret>[^&\s'\"]{16,})",
        "keywords": ["x-amz-s", "x-goog-s"],
    },
    "signed-url": {
        "regex": r"(?i)[?&](?:sig|signature|token|access_?token|auth|api[-_]?key|rlkey|password)="
        r"(?P<secret>[^&\s'\"]{8,})",
        "keywords": [
            "sig=", "signature=", "token=", "auth=", "api-key=", "apikey=", "api_key=", "rlkey=",
            "password=",
        ],
    },
    "token-as-user-in-url": {
        "regex": r"https?://(?P<secret>[^/\s:@?#]{16,})@", "keywords": ["://"],
    },
    "aws-amazon-bedrock-api-key-short-lived": {
        "regex": "bedrock-api-key-[A-Za-z0-9+/]{40,}", "keywords": ["bedrock-api-key-"],
    },
    # the name of a variable says that it is one: WANDB_API_KEY=...
    "named-key": {
        "regex": r"(?i)(?:api_?key|auth_?token|access_?token|client_?secret|password|passwd)"
        rf"{_VALUE}(?P<secret>(?=[a-z]*\d)(?=\d*[a-z])[a-z0-9]{{24,}})(?![\w-])",
        "keywords": ["apikey", "api_key", "authtoken", "auth_token", "accesstoken", "access_token",
                     "clientsecret", "client_secret", "password", "passwd"],
        "entropy": 3,
    },
    "atlassian-api-token": {
        "regex": rf"{_NOT_BEFORE}ATATT3[A-Za-z0-9_=-]{{100,}}", "keywords": ["atatt3"],
    },
    "wandb-api-key": {
        "regex": rf"{_NOT_BEFORE}wandb_v\d_[A-Za-z0-9_]{{40,}}", "keywords": ["wandb_v"],
    },
    "github-token": {
        "regex": rf"{_NOT_BEFORE}(?:gh[pousr]_[A-Za-z0-9]{{30,}}|github_pat_\w{{20,}})",
        "keywords": ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
    },
    # A part of it is random; sk- is Slovak too, and words with a version or two pass
    "sk-token": {
        "regex": r"(?<![A-Za-z0-9_-])sk-(?:[A-Za-z0-9_-]*[_-])?"
        r"(?=[A-Za-z]*\d+[A-Za-z]+\d)[A-Za-z0-9]{16,}(?:[_-][A-Za-z0-9_-]*)?",
        "keywords": ["sk-"],
    },
    "private-key": {
        "regex": r"-----BEGIN [A-Z ]*PRIVATE KEY[\s\S]*", "keywords": ["private key"],
        "many_lines": True,
    },
    "jwt": {
        "regex": rf"{_NOT_BEFORE}eyJ[A-Za-z0-9_-]{{10,}}\.eyJ[A-Za-z0-9_-]{{10,}}(?:\.[A-Za-z0-9_-]*)?",
        "keywords": ["eyj"],
    },
    "url-credentials": {
        "regex": r"(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s/?#@:'\"]*:(?P<secret>(?![*<${])[^\s/?#@'\"]{3,})@",
        "keywords": ["://"],
    },
    "login": {
        "regex": r"(?i)(?<![\w@.:%-])(?:[a-z0-9]+[._-])?"
        r"(?:user(?:name)?|admin|root|postgres|mysql|oauth2?|git)\d*:(?P<secret>(?![*<${])[^\s/@:'\"]{4,})@[a-z0-9]",
        "keywords": ["@"], "entropy": 2,
    },
    # of an unknown user: a word that no mail address begins with
    "login-of-anybody": {
        "regex": r"(?<![\w@.:%-])(?!mailto:|sips?:|xmpp:|acct:)[A-Za-z][\w.-]{1,30}:(?P<secret>"
        r"(?!//)(?=[^\s@]{0,99}\d)(?=[^\s@]{0,99}[a-z])(?=[^\s@]{0,99}[A-Z!#$%&*+?^~])"
        r"[^\s/@:'\"]{8,99})@[a-zA-Z][\w.-]*",
        "keywords": ["@"], "entropy": 2.5,
    },
    "url-token": {
        "regex": r"(?i)\b[a-z][a-z0-9+.-]{1,20}://(?P<secret>(?=[\w-]*\d)[\w-]{20,})@",
        "keywords": ["://"], "entropy": 3,
    },
    "url-parameter": {
        "regex": r"(?i)[?&](?:access_?token|auth_?token|token|api_?key|key|secret|signature|password|pwd)="
        r"(?P<secret>(?!(?:[a-z]+|\d+)(?:[-_.](?:[a-z]+|\d+))*(?:[&#]|$))[^&\s'\"#*]{16,})",
        "keywords": ["token=", "key=", "secret=", "signature=", "password=", "pwd="], "entropy": 3,
    },
    # capitals, small letters and digits, as no word has them
    "named-password": {
        "regex": r"(?:[Pp]assw(?:or)?d|PASSW(?:OR)?D|[Pp]wd|PWD)[=:]"
        r"(?P<secret>(?=[^\s&,]*\d)(?=[^\s&,]*[a-z])(?=[^\s&,]*[A-Z])[^\s&,*'\"]{10,})",
        "keywords": ["password", "passwd", "pwd"], "entropy": 3,
    },
    "netrc-password": {
        "regex": r"(?i)\bpassword\s+(?P<secret>(?=[a-z]*\d)(?=\d*[a-z])[a-z0-9]{32,})(?![\w-])",
        "keywords": ["password"], "entropy": 3,
    },
    "bearer-token": {
        "regex": r"(?i)\bbearer\s+(?P<secret>(?=[\w~+/.=-]*\d)[\w~+/.=-]{20,})",
        "keywords": ["bearer"], "entropy": 3,
    },
    "aws-session-token-bare": {
        "regex": r"(?<![A-Za-z0-9/+])(?:FwoGZXIvYXdz|IQoJb3JpZ2lu)[A-Za-z0-9/+=]{80,}",
        "keywords": ["fwogzxivyxdz", "iqojb3jpz2lu"],
    },
    "gitlab-pat": {
        "regex": rf"{_NOT_BEFORE}glpat-[\w-]{{20,}}(?:\.\w{{2}}\.\w{{7,}})?", "keywords": ["glpat-"],
        "entropy": 3,
    },
    "groq-api-key": {"regex": rf"{_NOT_BEFORE}gsk_[A-Za-z0-9]{{40,}}", "keywords": ["gsk_"]},
    "replicate-api-token": {
        "regex": rf"{_NOT_BEFORE}r8_(?=[A-Za-z]*\d)[A-Za-z0-9]{{30,}}", "keywords": ["r8_"],
    },
    "xai-api-key": {"regex": rf"{_NOT_BEFORE}xai-[A-Za-z0-9]{{60,}}", "keywords": ["xai-"]},
    "kaggle-api-token": {
        "regex": rf"{_NOT_BEFORE}KGAT_[0-9a-f]{{32}}", "keywords": ["kgat_"],
    },
    "kaggle-json": {
        "regex": r"\"key\"\s*:\s*\"(?P<secret>[0-9a-f]{32})\"", "keywords": ["\"key\""],
    },
    "langsmith-api-key": {
        "regex": rf"{_NOT_BEFORE}lsv2_(?:pt|sk)_[0-9a-f]{{32}}_[0-9a-f]{{10}}", "keywords": ["lsv2_"],
    },
    "figma-access-token": {"regex": rf"{_NOT_BEFORE}figd_[\w-]{{40,}}", "keywords": ["figd_"]},
    # JSON in base64 that begins with the address of the server
    "neptune-api-token": {
        "regex": rf"{_NOT_BEFORE}eyJhcGlfYWRkcmVzcyI6[A-Za-z0-9+/]{{40,}}={{0,2}}",
        "keywords": ["eyjhcglfywrkcmvzcyi6"],
    },
    "pinecone-api-key": {"regex": rf"{_NOT_BEFORE}pcsk_\w{{40,}}", "keywords": ["pcsk_"]},
    "supabase-token": {
        "regex": rf"{_NOT_BEFORE}(?:sbp_[0-9a-f]{{40}}|sb_secret_[\w-]{{20,}})",
        "keywords": ["sbp_", "sb_secret_"],
    },
    "docker-token": {
        "regex": rf"{_NOT_BEFORE}dckr_(?:pat|oat)_[\w-]{{20,}}", "keywords": ["dckr_"],
    },
    "authorization-header": {
        "regex": rf"(?i)authorization{_VALUE}(?:bearer|basic|token)\s+(?P<secret>[\w~+/.=-]{{8,}})",
        "keywords": ["authorization"],
    },
    "azure-storage-key": {
        "regex": r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{86}==(?![A-Za-z0-9+/=])", "keywords": ["=="],
    },
    "azure-shared-key": {
        "regex": r"(?i)(?:AccountKey|SharedAccessKey)=(?P<secret>[A-Za-z0-9+/]{40,}={0,2})",
        "keywords": ["accountkey=", "sharedaccesskey="],
    },
    "azure-sas": {
        "regex": r"[?&]sig=(?P<secret>[A-Za-z0-9%+/_-]{30,}={0,2})", "keywords": ["sig="],
    },
    "azure-ad-client-secret": {
        "regex": r"(?<![\w~.-])[a-zA-Z0-9_~.]{3}\dQ~[a-zA-Z0-9_~.-]{31,34}(?![\w~.-])",
        "keywords": ["q~"], "entropy": 3,
    },
    "google-oauth-token": {
        "regex": rf"{_NOT_BEFORE}(?:ya29\.[\w-]{{20,}}|GOCSPX-[\w-]{{28}})",
        "keywords": ["ya29.", "gocspx-"],
    },
    "gcp-api-key": {"regex": rf"{_NOT_BEFORE}AIza[\w-]{{35}}{_NOT_AFTER}", "keywords": ["aiza"]},
    "slack-token": {
        "regex": rf"{_NOT_BEFORE}xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{{10,}}", "keywords": ["xox"],
        "entropy": 2,
    },
    "slack-webhook-url": {
        "regex": r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<secret>[A-Za-z0-9+/]{20,})",
        "keywords": ["hooks.slack.com"],
    },
    "discord-webhook-url": {
        "regex": r"discord(?:app)?\.com/api/webhooks/(?P<secret>\d+/[\w-]{40,})",
        "keywords": ["/api/webhooks/"],
    },
    # base64 of a number of 17 to 20 digits, a time, a signature
    "discord-bot-token": {
        "regex": r"[MNO][DTjz][A-Za-z][wxyz0-5](?:[MNO][DTjz][A-Za-z][wxyz0-5]){4,5}[A-Za-z0-9]{0,4}"
        r"\.[\w-]{6}\.[\w-]{27,38}",
        "keywords": ["."], "many_lines": True,
    },
    "telegram-bot-api-token": {
        "regex": r"(?<![\w-])\d{8,10}:A[\w-]{34}(?![\w-])", "keywords": [":a"],
    },
    "twilio-api-key": {"regex": rf"{_NOT_BEFORE}SK[0-9a-f]{{32}}{_NOT_AFTER}", "keywords": ["sk"]},
    "vault-service-token": {"regex": rf"{_NOT_BEFORE}hvs\.[\w-]{{24,}}", "keywords": ["hvs."]},
    "pypi-upload-token": {"regex": rf"{_NOT_BEFORE}pypi-AgE[\w-]{{50,}}", "keywords": ["pypi-age"]},
}  # fmt: skip
"""Id -> form. `keywords`: lower-case texts of which one stands in every text that has the form.
`entropy`: least bits per character. `many_lines`: the form may go beyond the line of the keyword; all
others are looked for in that line alone. `random`: letters are mixed as by chance. A group `secret` is
the part to hide, else the whole."""
_COVERED = ("github-", "slack-bot", "slack-user", "slack-legacy", "slack-config", "anthropic-",
            "openai-")  # fmt: skip
"""Starts of gitleaks' ids that a wider form of ours has in it."""


def forms(rules: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Choose and translate gitleaks' rules, and add ours."""
    found = {rule["id"]: _form(rule) for rule in rules if _is_chosen(rule)}
    return dict(sorted({**found, **OURS}.items()))


def _is_chosen(rule: dict[str, Any]) -> bool:
    id, regex = rule["id"], rule.get("regex", "")
    return (
        bool(regex)
        and _BESIDE_A_NAME not in regex.split("|\\b(")[0]
        and id not in _LEFT_OUT
        and not id.startswith(_COVERED)
    )


def _form(rule: dict[str, Any]) -> dict[str, Any]:
    form = {"regex": python_regex(rule["regex"]), "keywords": rule["keywords"]}
    if "entropy" in rule:
        form["entropy"] = rule["entropy"]
    return form


def python_regex(regex: str) -> str:
    """Translate a regular expression of Go's RE2; ValueError for what has no counterpart here."""
    regex = regex.replace(_END, _NOT_AFTER)
    regex = regex.replace(r"[[:alnum:]]", "[A-Za-z0-9]").replace(r"\z", r"\Z")
    if "[[:" in regex or r"\p" in regex:
        raise ValueError(regex)
    # Python takes (?i) at the start alone; elsewhere it is for the rest of the group.
    while (at := regex.find("(?i)", 1)) > 0:
        end = _end_of_group(regex, at + 4)
        rest = regex[at + 4 : end]
        regex = f"{regex[:at]}(?i:{rest}){regex[end:]}"
    re.compile(regex)
    return regex


def _end_of_group(regex: str, start: int) -> int:
    """Index of the parenthesis that closes the group around `start`, or the regex' length."""
    depth = 0
    for index, char in _outside_classes(regex, start):
        if char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if depth < 0:
                return index
        elif char == "|" and depth == 0:
            raise ValueError(f"(?i) before an alternative: {regex}")
    return len(regex)


def _outside_classes(regex: str, start: int) -> Iterator[tuple[int, str]]:
    """Yield index and character from `start` on, without escapes and character classes."""
    index, inside = start, False
    while index < len(regex):
        char = regex[index]
        if char == "\\":
            index += 2
            continue
        if char == "[" and not inside:
            inside = True
        elif char == "]" and inside:
            inside = False
        elif not inside:
            yield index, char
        index += 1


def as_json(table: dict[str, dict[str, Any]]) -> str:
    """Write one form a line, so that a change reads well in a diff."""
    rows = ",\n".join(f"    {json.dumps(id)}: {json.dumps(form)}" for id, form in table.items())
    return f'{{\n  "sources": {json.dumps(SOURCES)},\n  "forms": {{\n{rows}\n  }}\n}}\n'


def content(path: Path = GITLEAKS) -> str:
    """Make the file's content from gitleaks' rules."""
    return as_json(forms(tomllib.loads(path.read_text(encoding="utf-8"))["rules"]))


def main() -> None:
    """Write the file; a newer gitleaks.toml may be named."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else GITLEAKS
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(content(path), encoding="utf-8")


if __name__ == "__main__":
    main()
