"""The table of secrets' forms: it is up to date, finds every kind of secret, and nothing ordinary."""

from __future__ import annotations

import base64
import importlib.util
import json
import random
import re
import string
import time
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from lingotune.config.secret_values import HIDDEN
from lingotune.config.secrets import looks_secret, redacted

FACTS = ROOT / "src" / "lingotune" / "config" / "facts" / "secrets.json"
DIGITS, HEX = string.digits, "0123456789abcdef"
ALNUM = string.ascii_letters + DIGITS
TELLING = ALNUM + "_-"


def letters(count: int, alphabet: str = ALNUM) -> str:
    """The same random letters at every call, so that no token stands in this file."""
    return "".join(random.Random(count * 1000 + len(alphabet)).choices(alphabet, k=count))


def jwt() -> str:
    parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": "1234567890", "name": "Ada"})
    coded = (base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts)
    return ".".join([*coded, letters(43, TELLING)])


SECRETS = {
    "Hugging Face": "hf" + "_" + letters(34, string.ascii_letters),
    "AWS key id": "AKI" + "A" + letters(16, string.ascii_uppercase + "234567"),
    "AWS temporary key id": "ASI" + "A" + letters(16, string.ascii_uppercase + "234567"),
    "AWS secret key": "AWS_SECRET_ACCESS_" + "KEY=" + letters(40, ALNUM + "/+"),
    "AWS secret key in JSON": '"SecretAccess' + 'Key": "' + letters(40, ALNUM + "/+") + '"',
    "AWS session token": "aws_session_" + "token=" + letters(300),
    "presigned URL": "https://b.s3.amazonaws.com/a?X-Amz-" + "Signature=" + letters(64, HEX),
    "presigned URL's token": "https://b.s3.amazonaws.com/a?X-Amz-Security-" + "Token=" + letters(90),
    "GitHub": "gh" + "p_" + letters(36),
    "GitHub, fine-grained": "github" + "_pat_" + letters(82, ALNUM + "_"),
    "GitLab": "glp" + "at-" + letters(20, TELLING),
    "Google API": "AI" + "za" + letters(35, TELLING),
    "Google OAuth": "ya" + "29." + letters(60, TELLING),
    "GCP service account": '{"private_key": "-----BEGIN ' + "PRIVATE KEY-----\\n" + letters(64),
    "Slack bot": "xo" + "xb-" + letters(12, DIGITS) + "-" + letters(13, DIGITS) + "-" + letters(24),
    "Slack user": "xo" + "xp-" + "-".join([letters(12, DIGITS)] * 3) + "-" + letters(32, HEX),
    "Slack webhook": "https://hooks.slack" + ".com/services/T00000000/B00000000/" + letters(24),
    "Weights & Biases": "WANDB_API_" + "KEY=" + letters(40, HEX),
    "Comet": "COMET_API_" + "KEY=" + letters(24) + "7",
    "JWT": jwt(),
    "npm": "np" + "m_" + letters(36),
    "PyPI": "py" + "pi-AgEIcHlwaS5vcmc" + letters(90, TELLING),
    "Azure storage": letters(86, ALNUM + "+/") + "==",
    "Azure connection": "AccountName=a;Account" + "Key=" + letters(86, ALNUM + "+/") + "==",
    "Azure SAS": "https://a.blob.core.windows.net/c?sv=2024&si" + "g=" + letters(44) + "%3D",
    "Databricks": "da" + "pi" + letters(32, HEX),
    "Stripe": "sk" + "_live_" + letters(24),
    "Anthropic": "sk" + "-ant-api03-" + letters(93, TELLING) + "AA",
    "OpenAI": "sk" + "-proj-" + letters(74, TELLING) + "T3Blb" + "kFJ" + letters(74, TELLING),
    "OpenAI, old": "sk" + "-" + letters(48),
    "URL with a password": "https://user:" + letters(12) + "@example.com/reviews.jsonl",
    "database URL": "postgresql://reviews:" + letters(9) + "@db.example.com:5432/reviews",
    "SendGrid": "S" + "G." + letters(22, TELLING) + "." + letters(43, ALNUM),
    "Twilio": "S" + "K" + letters(32, HEX),
    "Telegram": "123456789" + ":A" + letters(34, TELLING),
    "Discord bot": base64.b64encode(b"123456789012345678").decode() + ".G" + letters(5)
    + "." + letters(38, TELLING),
    "Figma": "fig" + "d_" + letters(40),
    "Neptune": "eyJhcGlfYWRk" + "cmVzcyI6" + letters(90),
    "Discord webhook": "https://discord.com/api" + "/webhooks/1234567890/" + letters(68, TELLING),
    "HashiCorp Vault": "hv" + "s." + letters(95, TELLING),
    "authorization header": "Author" + "ization: Bearer " + letters(30),
    "URL with a token": "https://" + letters(36) + "@github.com/a/b.jsonl",
    "URL's parameter": "https://a.b/x.csv?lang=de&api_" + "key=" + letters(30),
    "URL's token": "https://a.b/x.csv?tok" + "en=" + letters(30),
    "presigned URL of old": "https://b.s3.amazonaws.com/k?Expires=17&Signa" + "ture=" + letters(27) + "%3D",
    "password": "pass" + "word=" + letters(16),
    "netrc": "machine api.wandb.ai login user pass" + "word " + letters(40, HEX),
    "bearer": "Bear" + "er " + letters(40),
    "AWS session token alone": "FwoGZXIvYXdz" + letters(200),
    "GitLab, routable": "glp" + "at-" + letters(27, TELLING) + ".01." + letters(9, HEX),
    "Groq": "gs" + "k_" + letters(52),
    "Replicate": "r" + "8_" + letters(37),
    "xAI": "xa" + "i-" + letters(80),
    "Kaggle": "KG" + "AT_" + letters(32, HEX),
    "kaggle.json": '{"username":"a","k' + 'ey":"' + letters(32, HEX) + '"}',
    "LangSmith": "ls" + "v2_pt_" + letters(32, HEX) + "_" + letters(10, HEX),
    "Pinecone": "pc" + "sk_" + letters(70),
    "Supabase": "sb" + "p_" + letters(40, HEX),
    "Docker": "dck" + "r_pat_" + letters(27, TELLING),
    "AWS secret key alone": letters(40, ALNUM + "/+"),
    "token in base64": base64.b64encode(("hf" + "_" + letters(34, string.ascii_letters)).encode()).decode(),
    "login in base64": base64.b64encode(("user:gh" + "p_" + letters(36)).encode()).decode(),
    "token in hexadecimal digits": ("gh" + "p_" + letters(36)).encode().hex(),
    "URL in a URL": "https://a.b/?u=https%3A%2F%2Fuser%3A" + letters(12) + "%40h.example",
    "login": "user:" + letters(9) + "@db.example.com",
    "login at a port": "admin:" + letters(9) + "@localhost:5432/reviews",
    "login of anybody": "ada.lovelace:" + letters(9) + "aB3@db.example.com",
    "private key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----\n" + letters(70) + "\n" + letters(70),
}  # fmt: skip


@pytest.fixture(scope="module")
def tool() -> Any:
    pytest.importorskip("tomllib", reason="Python 3.11 reads gitleaks' rules")
    spec = importlib.util.spec_from_file_location("forms", ROOT / "tools" / "secret_forms.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_the_tools(tool: Any) -> None:
    """After a change: make facts."""
    assert FACTS.read_text(encoding="utf-8") == tool.content()


def test_every_form_compiles_and_its_keywords_are_in_lower_case() -> None:
    forms = json.loads(FACTS.read_text(encoding="utf-8"))["forms"]
    assert len(forms) > 100
    for form in forms.values():
        re.compile(form["regex"], re.ASCII)
        assert form["keywords"] and all(word == word.lower() for word in form["keywords"])


@pytest.mark.parametrize(
    ("go", "python"),
    [
        (r"\b(a-(?i)[a-z]{3})\b", r"\b(a-(?i:[a-z]{3}))\b"),
        (r"(?i)x_[a-z]", r"(?i)x_[a-z]"),
        (r"[[:alnum:]]{2}\z", r"[A-Za-z0-9]{2}\Z"),
        (r"a(?i)[)(]b", r"a(?i:[)(]b)"),
    ],
)
def test_gos_expressions_become_pythons(tool: Any, go: str, python: str) -> None:
    assert tool.python_regex(go) == python


def test_what_cannot_be_translated_is_refused(tool: Any) -> None:
    for regex in (r"a(?i)b|c", r"[[:punct:]]"):
        with pytest.raises(ValueError):
            tool.python_regex(regex)


@pytest.mark.parametrize("secret", SECRETS.values(), ids=list(SECRETS))
@pytest.mark.parametrize("around", ["{}", "name={}", "'{}'", "['a', {}, b]", "é {} ü\nmore"])
def test_tokens_are_found_and_nothing_of_them_is_shown(secret: str, around: str) -> None:
    text = around.format(secret)
    assert looks_secret(text)
    shown = redacted(text, {})
    assert HIDDEN in shown
    assert secret[-10:] not in shown or secret.endswith((".jsonl", ":5432/reviews", "example.com"))
    assert not looks_secret(shown)


@pytest.mark.parametrize(
    "written",
    [
        r"lr=https\://ada\:{}@example.com/x",  # as a sweep writes one of its values
        r"'https\\://ada\\:{}@example.com/x' is not a number",
        r"{{\"url\": \"https:\/\/ada:{}@example.com\"}}",
        r"api_key\={}",
    ],
)
def test_backslashes_hide_no_password(written: str) -> None:
    secret = letters(36)
    text = written.format(secret)
    assert looks_secret(text) and secret not in redacted(text)
    assert not looks_secret(written.format("*" * 36))


def test_a_secret_within_another_leaves_nothing_of_either() -> None:
    inner = "https://u:" + SECRETS["GitLab"] + "@gitlab.com/a"
    assert (
        redacted(f"data.path={inner} more", {}) == f"data.path=https://u:{HIDDEN}@gitlab.com/a more"
    )
    both = SECRETS["npm"] + " " + SECRETS["GitLab"]
    assert redacted(both, {}) == f"{HIDDEN} {HIDDEN}"


ORDINARY_WORDS = """
risk task desk sk sk-sk reviews of in six languages de en es fr ja zh distilbert xlmr lr3e-5 bs16
multilingual cased seed42 v2 2024 facebook twitter yandex github token key secret password auth hf
wandb api sg pat npm glue discord slack adobe eval xox base key2
"""
SIX_LANGUAGES = """
Great product, works perfectly! The key was missing. Sehr gut, würde ich wieder kaufen: ja
Très bon produit ; je recommande ! ¡Muy bueno! No funciona bien. とても良い商品です。
质量很好，推荐购买。 Password reset failed twice; the token expired
"""
WORDS = st.sampled_from(ORDINARY_WORDS.split())
HEXES = st.text(HEX, min_size=40, max_size=40) | st.text(HEX, min_size=64, max_size=64)
NAMES = st.lists(WORDS, min_size=1, max_size=8).map("-".join) | st.lists(
    WORDS, min_size=1, max_size=8
).map("_".join)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
SENTENCES = st.lists(
    st.sampled_from(SIX_LANGUAGES.split()),
    min_size=1, max_size=20,
).map(" ".join)  # fmt: skip
SHORT_BASE64 = st.text(ALNUM + " ", min_size=1, max_size=39).map(
    lambda text: base64.b64encode(text.encode()).decode()
)
"""Of less than 40 letters, which are the form of an AWS key where they are mixed as by chance."""
ORDINARY = st.one_of(
    NAMES,
    PATHS,
    st.builds("s3://{}-bucket/{}/reviews.jsonl".format, NAMES, PATHS),
    st.builds("arn:aws:secretsmanager:eu-west-1:111122223333:secret:{}-aB3dE9".format, NAMES),
    st.builds("arn:aws:iam::111122223333:role/{}".format, PATHS),
    st.builds("arn:aws:kms:us-east-1:111122223333:key/{}".format, st.uuids()),
    st.builds("{}/{}".format, NAMES, NAMES),
    st.builds("{}@{}".format, NAMES, HEXES),
    st.builds("sha256:{}".format, HEXES),
    st.builds("111122223333.dkr.ecr.us-east-1.amazonaws.com/{}:{}".format, NAMES, NAMES),
    st.builds("/home/user/{}/{}.parquet".format, PATHS, HEXES),
    st.builds("revision={}".format, HEXES),
    st.builds("aws.tags.git_commit={}".format, HEXES),
    st.builds("runs/{}/{}".format, NAMES, HEXES),
    st.builds("{}:{}@{}".format, WORDS, WORDS, NAMES),  # an image, a mail address
    st.builds("https://example.com/{}?q={}%20{}".format, PATHS, WORDS, WORDS),
    st.builds("{}@{}.com".format, NAMES, WORDS),
    st.lists(WORDS, min_size=4, max_size=9).map(lambda some: "".join(map(str.title, some))),
    SENTENCES,
    SHORT_BASE64,
).filter(lambda text: "github_pat_" not in text)  # with twenty more letters that is a token's form


@given(
    st.sampled_from(["", "name=", "data.path=", "hub.token_secret=", "aws.tags.key=", "model "]),
    ORDINARY,
)
@settings(max_examples=1500)
def test_nothing_ordinary_looks_like_a_secret(before: str, text: str) -> None:
    assert not looks_secret(before + text), before + text
    assert redacted(before + text, {}) == before + text


@pytest.mark.parametrize("key", ["name", "aws.tags.owner", "cluster.environment.WANDB", "hub.repo"])
def test_a_key_of_40_hexadecimal_digits_is_told_from_a_commit(key: str) -> None:
    digits = letters(40, HEX)
    assert looks_secret(f"{key}={digits}")
    assert redacted(f"a\n{key}={digits}\nb", {}) == f"a\n{key}={HIDDEN}\nb"
    for named in (
        "model.revision",
        "model.remote_code",
        "LINGOTUNE_REMOTE_CODE",
        "aws.tags.commit",
        "data.sha256",
        "aws.tags.GIT_SHA",
    ):
        assert not looks_secret(f"{named}={digits}")


@pytest.mark.parametrize(
    "text",
    [
        "mailto:ada.lovelace99@example.com",
        "owner:ada.lovelace@example.com",
        "image:tag@sha256:0123456789abcdef",
        "Reviews2024/GermanAndFrench/TrainSplitV1",
        "AllReviewsOfHotels2024InSixLanguagesPart1",
        "RiskTaskSkSkLanguagesCasedSeed42YandexHf",
        "name=risk-scores-of-reviews-in-six-languages",
        "name=sk-reviews-of-hotels-and-restaurants-2024",
        "https://user:***@example.com/a",
        "https://example.com:8080/a@b",
        "hub.token_secret=prod/reviews/hugging-face-token",
        "model.name_or_path=facebook/xlm-v-base",
        "task-classification-multilingual",
        "desk-reviews-in-german-and-english",
        "sk-learn-baseline",
        "npm_reviews_by_language",
        "token_classification_dataset.csv",
        "password-reset-tickets.csv",
        "hf_reviews_of_all_kinds_and_languages_2024",
        "data/tokens/train.jsonl",
        "xox-lovers",
        "https://user@example.com/x.csv",
        "https://example.com/reviews.csv?version=2&lang=de",
        "https://example.com/r.csv?key=reviews-by-language-1",
        "postgresql://localhost:5432/reviews",
        "AKIA-kia-motors-reviews",
        "ya29-highway-reviews",
        "bearer tokens-in-logs-of-all-services",
        "a4f8c2e1-9b7d-4c3e-8f1a-2b3c4d5e6f70",
        "xai-explanations-of-classifiers",
        "r8_reviews",
        "MyVeryLongColumnNameForReviewTextsOfCustomers2024",
        "/home/user/.cache/huggingface/token",
        "password: the customer forgot it",
        "a password that was long forgotten by everybody",
    ],
)
def test_names_that_only_resemble_a_token_pass(text: str) -> None:
    assert not looks_secret(text)


def test_a_text_is_searched_in_less_than_5_ms() -> None:
    text = (
        "per_device_bs=16: the tokens of a text, at most 128, are of https://example.com/key\n" * 10
    )
    looks_secret(text)  # compiles what the text has keywords of
    seconds = []
    for _ in range(20):
        begun = time.process_time()
        redacted(text, {})
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 0.005, seconds
