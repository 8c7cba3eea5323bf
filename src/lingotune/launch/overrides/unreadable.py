"""Words of the command line that Hydra's grammar cannot read: where it stops, and the form that it reads.

Most come from elsewhere: another tool's way of typing (`--lr 2e-5`, `lr: 2e-5`), a shell that parts words
at blanks, curly quotes and long dashes of a web page.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Sequence

from lingotune.config.problems import Problem, nearest_option, printable
from lingotune.config.quoting import for_shell, hydra_value, override_text
from lingotune.config.schema import Texts
from lingotune.config.secrets import NO_TOKEN, looks_secret
from lingotune.config.settings import container_of, mapping_of, setting_types
from lingotune.launch.overrides.distributions import drawn
from lingotune.launch.overrides.grammar import Groups, first_wrong, is_function
from lingotune.launch.overrides.keys import describe_type, settings_of
from lingotune.launch.overrides.readable_forms import as_pasted, choices_of, forms_of, has_no_blanks
from lingotune.launch.overrides.unknown_names import accepted, unknown_name
from lingotune.launch.overrides.values import as_on_keyboard

_OPTIONS = "--help, --cfg job, --config-dir DIR, --job FILE, -m; or the form KEY=VALUE"
_KNOWN = ["--help", "--cfg", "--config-dir", "--job", "--multirun"]
_FORM = "the form KEY=VALUE; values with spaces or symbols in quotes: \"data.path='my file.csv'\""
_CALL = re.compile(r"([A-Za-z_]\w*)?\s*\(")


def unreadable(text: str, groups: Groups) -> Problem:
    """Describe a word that is no override: its first wrong character, and the form that can be read."""
    key, equals, value = _parts(text)
    name = _name(key)
    if looks_secret(text):  # no part of it in another form
        return Problem(text, "is not a setting of the form key=value", NO_TOKEN)
    if not _is_known(name, groups):
        return _unknown(text, name, value if equals else None, groups)
    if not equals:
        fix = _form_of(name, groups, removes=text.startswith("~"))
        return Problem(text, "has no value: the form is key=value", fix, key=_setting(name))
    several = _several(text, groups)
    if several:
        what = f"holds {len(several)} settings, which are words of their own"
        return Problem(printable(text), what, " ".join(map(for_shell, several)), key=name)
    if text.startswith("-") and accepted(f"{name}={value}", groups):
        return Problem(text, "unknown option", for_shell(f"{name}={value}"))
    if setting_types().get(name) in (int, float) and (fix := drawn(name, value)):
        what = "is another tool's distribution, which is not read here"
        return Problem(printable(text), what, fix, key=_setting(name), value=value)
    fixed = next(forms_of(name, value, groups))
    kind = setting_types().get(name)
    is_number = typing.get_origin(kind) is not list and {bool, int, float} & {
        kind, *typing.get_args(kind)
    }  # fmt: skip
    if is_number and not accepted(fixed, groups):
        fixed = describe_type(kind, name)[1].split(", or ")[0]
    quoted = '"' in fixed and '"' not in as_on_keyboard(value)
    what = f"cannot be read from {_stop(text)}, on" + (": symbols need quotes" if quoted else "")
    return Problem(printable(text), what, as_pasted(fixed), key=_setting(name), value=value)


def _form_of(name: str, groups: Groups, *, removes: bool) -> str:
    """Write the form of an override of a key that was typed alone."""
    mapping = mapping_of(name)
    if mapping and name != mapping:
        fix = hydra_value({name[len(mapping) + 1 :]: "value"})
        return "leave it out" if removes else for_shell(f"{mapping}={fix}")
    if name not in groups and (settings := settings_of(name)):
        return settings
    return f"{name}={choices_of(name, groups)}"


def without_loose_words(texts: Sequence[str], groups: Groups) -> tuple[list[str], list[Problem]]:
    """Take out settings that a shell has parted at blanks; returns the other words, and the problems."""
    kept: list[str] = []
    problems = []
    rest = list(texts)
    while rest:
        count = _words_of_one(rest, groups)
        if count == 1:
            kept.append(rest.pop(0))
            continue
        problems.append(_parted(rest[:count], groups))
        del rest[:count]
    return kept, problems


# --- a setting in several words ---------------------------------------------------------------------


def _words_of_one(words: Sequence[str], groups: Groups) -> int:
    """Count the words that belong to the setting of the first: `lr = 2e-5`, `data.path=my file.csv`."""
    key, equals, value = _parts(words[0])
    name = _name(key)
    is_option = words[0].startswith("-")
    known = _is_known(name, groups) or (is_option and not equals)
    if not known or words[0][0] in "~+" or (equals and (is_option or (name in groups and value))):
        return 1
    if value and has_no_blanks(setting_types().get(name)):
        return 1
    holds_many = equals or typing.get_origin(setting_types().get(name)) is list
    count = 1
    for word in words[1:]:
        is_sign = count == 1 and not equals and word.startswith("=") and not is_option
        if not is_sign and (not _is_loose(word, groups) or (value and not holds_many)):
            break
        count += 1
        value += word.lstrip("=") if is_sign else word
    return count


def _is_loose(word: str, groups: Groups) -> bool:
    """Tell whether a word is no setting and no option by itself."""
    key, equals, _ = _parts(word)
    has_mark = re.match(r"-(?![\d.])|[~+]", word)
    is_quoted = " " in word
    return not (not word or equals or has_mark or is_quoted or _is_known(_name(key), groups))


def _parted(words: Sequence[str], groups: Groups) -> Problem:
    text = " ".join(words)
    if looks_secret(text):
        return unreadable(text, groups)
    first, *others = words
    key, equals, value = _parts(first)
    name = _name(key)
    if not equals and others[0].startswith("="):
        others[0] = others[0][1:]
    values = [part for part in (value, *others) if part]
    typed = " ".join(values)
    if not _is_known(name, groups):
        return _unknown(text, name, typed, groups)
    what = "is one setting in several words: one word has its key, = and value"
    if not values:
        return Problem(text, what, _form_of(name, groups, removes=False), key=_setting(name))
    kind = setting_types().get(name)
    many = len(values) > 1 and value[:1] not in ("[", "{")
    if many and typing.get_origin(kind) is list:
        typed = ",".join(part.strip(",") for part in values)
    fix = as_pasted(next(forms_of(name, typed, groups)))
    if many and kind is Texts:
        fix += f", or {override_text(name, values)}"
    return Problem(text, what, fix, key=_setting(name), value=typed)


# --- the parts of a word ----------------------------------------------------------------------------


def _parts(text: str) -> tuple[str, str, str]:
    """Split at the first sign that stands between key and value."""
    plain = re.search(r"=|\uff1d", text) or re.search(r"(?<=\w):", text)
    if plain is None:
        return text, "", ""
    return text[: plain.start()], plain[0], text[plain.end() :]


def _name(key: str) -> str:
    """Read a key as it is written elsewhere: --data-path, data[path], data/path."""
    name = as_on_keyboard(key).strip().lstrip("-+~").strip("'\". ")
    if mapping_of(name):
        return re.sub(r"['\"]", "", name)
    return re.sub(r"[\[\]/.]+", ".", name.replace("-", "_")).strip(".")


def _is_known(name: str, groups: Groups) -> bool:
    return name in groups or name in setting_types() or container_of(name) is not None


def _setting(name: str) -> str:
    return name if name in setting_types() else container_of(name) or ""


def _several(text: str, groups: Groups) -> list[str]:
    """Return the settings that one word holds, if it is more than one."""
    words = re.split(r"[\s;,]+(?=[A-Za-z_][\w.]*=)", text.strip())
    keys = [_parts(word) for word in words]
    known = all(equals and _is_known(_name(key), groups) for key, equals, _ in keys)
    return words if known and len(words) > 1 else []


def _stop(text: str) -> str:
    """Show the first character that is wrong: where the grammar stops, or a call that is none."""
    place = first_wrong(text)
    call = next((c for c in _CALL.finditer(text) if not c[1] or not is_function(c[1])), None)
    if call and call.end() <= place:
        place = call.end() - 1
    return f"{text[place]!r}, character {place + 1}" if place < len(text) else "its end"


def _unknown(text: str, name: str, value: str | None, groups: Groups) -> Problem:
    """Describe a word whose key is none, however it is read."""
    what, fix = "is not a setting of the form key=value", _FORM
    if text.startswith("-"):
        what, fix = "unknown option", _OPTIONS
        if near := nearest_option(text.partition(" ")[0].partition("=")[0], _KNOWN):
            return Problem(printable(text), what, f"{near} {for_shell(value)}" if value else near)
        value = "true" if value is None else value  # a switch
    if re.fullmatch(r"[A-Za-z_][\w.]*", name) and value is not None:
        told, better = unknown_name(name, value, groups)
        if text.startswith("-"):
            what, fix = f"unknown option; {told}", better or fix
        else:
            what, fix = told, better
    return Problem(printable(text), what, fix)
