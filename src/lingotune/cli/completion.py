"""`lingotune completion SHELL`: prints a script that completes commands, options and overrides.

The script contains all words, so that TAB starts no Python. shtab, which writes such scripts from argparse
parsers, knows options and their choices, but no words of the form key=value, which are most of what is
typed here: one function in each shell's language is less than teaching it those.
"""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path

from lingotune.cli import launch, models, offers, prepare, train
from lingotune.cli.main import COMMANDS, GROUPS, module_of
from lingotune.cli.words import command_parser, parsed
from lingotune.config.console import Parser
from lingotune.config.settings import setting_types
from lingotune.launch.compose.config_dirs import shipped_dir, user_dir
from lingotune.launch.compose.help import Command, choices_of
from lingotune.launch.compose.options import options_parser
from lingotune.launch.overrides.keys import config_groups

_COMPOSED = {
    "train": train.command,
    "launch": launch.command,
    "prepare": prepare.command,
    "offers": offers.command,
    "models": models.command,
}
_OVERRIDES = {
    "evaluate": Command("", "", ("data",)),
    "publish": Command("", "", ("hub",)),
    "deploy": Command("", "", ("deploy", "aws", "budget")),
    "distill": Command("", ""),
}
"""Sections that overrides of the other commands may name."""


@dataclass(frozen=True)
class Words:
    """All words to complete. A key ends with =; `values` are by key, the rest by command."""

    options: Mapping[str, Sequence[str]]
    keys: Mapping[str, Sequence[str]]
    values: Mapping[str, Sequence[str]]


def parser() -> Parser:
    """Make the parser of the command's arguments."""
    made = command_parser("completion", "Write a completion script to standard output.")
    made.add_argument("shell", choices=list(SCRIPTS))
    made.add_argument("--config-dir", metavar="DIR", help="group files of your own to complete")
    return made


def main(argv: Sequence[str]) -> int:
    """Print the script."""
    options = parsed(parser(), argv)
    extra = user_dir(options.config_dir, os.environ)
    print(script(options.shell, shipped_dir(), extra), end="")
    return 0


def script(shell: str, conf_dir: Path, extra_dir: Path | None) -> str:
    """Write the completion script of a shell: 'bash', 'zsh' or 'fish'."""
    words = words_of(conf_dir, extra_dir)
    own = f"and of {extra_dir}, as they were when this was written" if extra_dir else "alone"
    head = f"# Completion of lingotune for {shell}: group files of {conf_dir} {own}.\n"
    head += "".join(f"# {line}\n" for line in INSTALL[shell].splitlines())
    return head + SCRIPTS[shell](words)


def words_of(conf_dir: Path, extra_dir: Path | None) -> Words:
    """Gather commands, options, groups with their options, and settings with their choices."""
    groups = {
        name: options
        for name, options in config_groups(conf_dir, extra_dir).items()
        if "/" not in name
    }
    new = groups.keys() - config_groups(conf_dir).keys()
    choices = {f"{'+' if name in new else ''}{name}=": options for name, options in groups.items()}
    values = {f"{key}=": choices_of(kind) for key, kind in setting_types().items()}
    settings = [f"{key}=" for key, kind in setting_types().items() if not is_dataclass(kind)]
    composed = {name: command() for name, command in _COMPOSED.items()}
    return Words(
        {
            **{name: _all_options(command) for name, command in composed.items()},
            **{name: _options(_parser_of(name)) for name in COMMANDS if name not in composed},
        },
        {
            name: [key for key in [*choices, *settings] if command.takes(key.strip("+="))]
            for name, command in {**composed, **_OVERRIDES}.items()
        },
        {key: options for key, options in {**values, **choices}.items() if options},
    )  # fmt: skip


def _parser_of(command: str) -> Parser:
    made: Parser = module_of(command).parser()
    return made


def _all_options(command: Command) -> list[str]:
    own = [option.split()[0] for option in command.options]
    return list(dict.fromkeys([*_options(options_parser(command)), *own]))


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [
        word
        for action in parser._actions
        for word in action.option_strings
        if word[:2] == "--" and action.help != argparse.SUPPRESS
    ]


INSTALL = {
    "bash": """\
To install it:
  mkdir -p ~/.local/share/bash-completion/completions
  lingotune completion bash > ~/.local/share/bash-completion/completions/lingotune
  or without bash-completion, in ~/.bashrc:  source FILE
For python train.py and python launch.py too, behind it in ~/.bashrc:
  complete -o default -o bashdefault -F _lingotune python""",
    "zsh": """\
To install it, in ~/.zshrc before compinit:
  fpath=(~/.zfunc $fpath)
  and then:  mkdir -p ~/.zfunc && lingotune completion zsh > ~/.zfunc/_lingotune
For python train.py and python launch.py too, in ~/.zshrc behind compinit:
  autoload -Uz _lingotune && compdef _lingotune python""",
    "fish": """\
To install it:
  mkdir -p ~/.config/fish/completions
  lingotune completion fish > ~/.config/fish/completions/lingotune.fish
For python train.py and python launch.py too, in ~/.config/fish/config.fish:
  source ~/.config/fish/completions/lingotune.fish""",
}
"""Instructions to install the script, by shell."""


def _cases(words: Mapping[str, Sequence[str]], variable: str, indent: str) -> Iterator[str]:
    """Format branches of a case statement for bash and zsh, merging those with the same words."""
    merged: dict[tuple[str, ...], list[str]] = {}
    for name, values in words.items():
        merged.setdefault(tuple(values), []).append(name)
    for values, names in merged.items():
        text = " ".join(map(shlex.quote, values))
        yield f"{indent}{'|'.join(map(shlex.quote, names))}) {variable}=({text}) ;;"


def _bash(words: Words) -> str:
    return _BASH.replace("@COMMANDS@", " ".join(COMMANDS)).replace("@CASES@", _all_cases(words))


def _zsh(words: Words) -> str:
    described = [
        shlex.quote(f"{name}:{told}")
        for commands in GROUPS.values()
        for name, told in commands.items()
    ]
    text = _ZSH.replace("@COMMANDS@", "\n    ".join(described))
    return "#compdef lingotune\n" + text.replace("@CASES@", _all_cases(words))


def _all_cases(words: Words) -> str:
    """Format shell code that sets the arrays options, keys and values from $command and $key."""
    parts = {"options": words.options, "keys": words.keys}
    lines = []
    for name, by_command in parts.items():
        lines += ['  case "$command" in', *_cases(by_command, name, "    "), "  esac"]
    lines += ['  case "$key" in', *_cases(words.values, "values", "    "), "  esac"]
    return "\n".join(lines)


def _fish(words: Words) -> str:
    lines = ["function __lingotune_values --argument-names key", "  switch $key"]
    for key, options in words.values.items():
        lines += [f"    case {shlex.quote(key)}", f"      printf '%s\\n' {shlex.join(options)}"]
    lines += ["  end", "end"]
    for name, by_command in {"options": words.options, "keys": words.keys}.items():
        lines += [f"function __lingotune_{name} --argument-names command", "  switch $command"]
        for command, found in by_command.items():
            lines += [f"    case {command}", f"      printf '%s\\n' {shlex.join(found)}"]
        lines += ["  end", "end"]
    lines.append(_FISH.strip("\n"))
    for commands in GROUPS.values():
        lines += [
            f"complete -c lingotune -n __fish_use_subcommand -f -a {name} -d {shlex.quote(told)}"
            for name, told in commands.items()
        ]
    return "\n".join(lines) + "\n"


SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish}

_BASH = r"""
_lingotune() {
  # The word at the cursor from the line itself: COMP_WORDS is cut at = and :
  local line=${COMP_LINE:0:COMP_POINT} word command key cut
  local -a typed options keys values found=()
  word=${line##*[[:space:]]}
  read -ra typed <<< "${line%"$word"}"
  COMPREPLY=()
  case "${typed[0]##*/} ${typed[1]##*/} ${typed[2]}" in
    python*' '-m' 'lingotune) typed=("${typed[@]:2}") ;;
    python*' train.py '*|python*' launch.py '*) command=${typed[1]##*/} ;;
    python*) return ;;
  esac
  if [[ -z $command && ${#typed[@]} -eq 1 ]]; then
    found=(@COMMANDS@ --help --version)
    COMPREPLY=($(compgen -W "${found[*]}" -- "$word"))
    return
  fi
  command=${command:-${typed[1]}}
  command=${command%.py}
  key=${word%%=*}=
@CASES@
  case "$command ${typed[${#typed[@]}-1]}" in
    *' --help'|*' -h') if [[ ${#keys[@]} -gt 0 ]]; then keys=("${keys[@]%=}"); options=(); fi ;;
    *' --cfg') COMPREPLY=($(compgen -W "job all" -- "$word")); return ;;
    *' --job'|*' --file'|*' --prices') COMPREPLY=($(compgen -f -- "$word")); return ;;
    *' --config-dir'|*' --run-dir'|*' --data'|*' --prepared-dir'|*' --output'|*' --runs-dir')
      COMPREPLY=($(compgen -d -- "$word")); return ;;
    'completion completion') options+=(bash zsh fish) ;;
  esac
  if [[ $word == *=* ]]; then
    found=("${values[@]/#/$key}")
  elif [[ $word == -* ]]; then
    found=("${options[@]}")
  else
    found=("${keys[@]}" )
    [[ $command == completion ]] && found=("${options[@]}")
  fi
  local candidate rest
  for candidate in "${found[@]}"; do
    [[ $candidate == "$word"* ]] || continue
    rest=${candidate#"$word"}
    # One section at a time: training. and then what is in it
    [[ $word == *=* || $rest != *.* ]] || candidate=$word${rest%%.*}.
    [[ " ${COMPREPLY[*]} " == *" $candidate "* ]] || COMPREPLY+=("$candidate")
  done
  [[ ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace 2>/dev/null
  # Readline replaces what follows the last of its word breaks only
  for cut in = :; do
    if [[ $word == *$cut* && $COMP_WORDBREAKS == *$cut* ]]; then
      COMPREPLY=("${COMPREPLY[@]#"${word%"$cut"*}$cut"}")
    fi
  done
}
complete -o default -o bashdefault -F _lingotune lingotune
"""

_ZSH = r"""
_lingotune() {
  local word=$PREFIX command key candidate rest
  local -a typed options keys values found commands
  typed=("${(@)words[1,CURRENT-1]}")
  commands=(
    @COMMANDS@
  )
  case "${typed[1]:t} ${typed[2]:t} ${typed[3]}" in
    python*' '-m' 'lingotune) typed=("${(@)typed[3,-1]}") ;;
    python*' train.py '*|python*' launch.py '*) command=${typed[2]:t} ;;
    python*) _default; return ;;
  esac
  if [[ -z $command && ${#typed} -eq 1 ]]; then
    _describe command commands
    return
  fi
  command=${command:-${typed[2]}}
  command=${command%.py}
  key=${word%%=*}=
@CASES@
  case "${typed[-1]}" in
    --help|-h) if (( ${#keys} )); then keys=("${(@)keys%=}"); options=(); fi ;;
    --cfg) compadd job all; return ;;
    --job|--file|--prices) _files; return ;;
    --config-dir|--run-dir|--data|--prepared-dir|--output|--runs-dir) _files -/; return ;;
  esac
  [[ $command == completion && $word != -* ]] && { compadd bash zsh fish; return }
  if [[ $word == *=* ]]; then
    compset -P '*='
    (( ${#values} )) && compadd -- "${values[@]}" || _files
    return
  fi
  if [[ $word == -* ]]; then
    compadd -- "${options[@]}"
    return
  fi
  for candidate in "${keys[@]}"; do
    [[ $candidate == ${word}* ]] || continue
    rest=${candidate#$word}
    # One section at a time: training. and then what is in it
    [[ $rest == *.* ]] && candidate=$word${rest%%.*}.
    found+=("$candidate")
  done
  if (( ${#found} )); then
    compadd -S '' -- "${(@u)found}"
  else
    _files
  fi
}
if [[ $funcstack[1] == _lingotune ]]; then
  _lingotune "$@"
else
  compdef _lingotune lingotune
fi
"""

_FISH = r"""
function __lingotune_command
  set -l typed (commandline -opc)
  switch (string join -- ' ' (basename -- $typed[1]) (basename -- $typed[2] 2>/dev/null) $typed[3])
    case 'python* train.py*'
      echo train
    case 'python* launch.py*'
      echo launch
    case 'python* -m lingotune'
      echo $typed[4]
    case 'lingotune *'
      echo $typed[2]
  end
end
function __lingotune_words
  set -l command (__lingotune_command)
  set -l word (commandline -ct)
  set -l last (commandline -opc)[-1]
  if test "$command" = completion
    printf '%s\n' bash zsh fish
  end
  if contains -- $last --help -h
    __lingotune_keys $command | string replace -r '=$' ''
    return
  end
  if test "$last" = --cfg
    printf '%s\n' job all
    return
  end
  if string match -q -- '*=*' $word
    set -l key (string replace -r '=.*' '=' -- $word)
    __lingotune_values $key | string replace -r '^' -- $key
    return
  end
  __lingotune_options $command
  # One section at a time: training. and then what is in it
  set -l begun (string replace -r '[^.]*$' '' -- $word)
  for candidate in (__lingotune_keys $command | string match -- "$begun*")
    set -l rest (string replace -- "$begun" '' $candidate)
    if string match -q '*.*' $rest
      echo $begun(string replace -r '\..*' '.' $rest)
    else
      echo $candidate
    end
  end | sort -u
end
function __lingotune_files
  # Where files are meant: after options that take one, as values without choices, as RUN
  set -l word (commandline -ct)
  contains -- (commandline -opc)[-1] --job --file --prices --config-dir --run-dir --data \
    --prepared-dir --output --runs-dir; and return 0
  if string match -q -- '*=*' $word
    test -z "$(__lingotune_values (string replace -r '=.*' '=' -- $word))"
    return
  end
  contains -- (__lingotune_command) predict evaluate report publish results validate
end
complete -c lingotune -n 'not __fish_use_subcommand; and not __lingotune_files' -f \
  -a '(__lingotune_words)'
complete -c lingotune -n 'not __fish_use_subcommand; and __lingotune_files' -a '(__lingotune_words)'
complete -c lingotune -n __fish_use_subcommand -l version -d 'the version'
complete -c lingotune -n __fish_use_subcommand -l help -d 'the commands'
for __lingotune_python in python python3
  complete -c $__lingotune_python -n 'test -n "$(__lingotune_command)"; and not __lingotune_files' -f \
    -a '(__lingotune_words)'
end
"""
