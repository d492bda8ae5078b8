"""Write what a shell completes: commands, the words below them, their options.

The scripts hold every word, so that a shell starts nothing: Python would take longer than a person
waits for a completion.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from types import MappingProxyType

from typer.core import TyperCommand, TyperGroup, TyperOption

_BASH = """\
# bash completions of petal-s3: eval "$(petal-s3 completion bash)", or this file in
# /usr/share/bash-completion/completions/petal-s3
declare -gA _petal_s3_words=(
{words}
)
_petal_s3() {{
    local typed="${{COMP_WORDS[COMP_CWORD]}}" place=petal-s3 number
    for ((number = 1; number < COMP_CWORD; number++)); do
        if [[ -n "${{_petal_s3_words[$place ${{COMP_WORDS[number]}}]+known}}" ]]; then
            place="$place ${{COMP_WORDS[number]}}"
        fi
    done
    COMPREPLY=($(compgen -W "${{_petal_s3_words[$place]}}" -- "$typed"))
}}
complete -o default -F _petal_s3 petal-s3
"""
_ZSH = """\
#compdef petal-s3
# zsh completions of petal-s3: source <(petal-s3 completion zsh), or this file as _petal-s3 in a
# directory of $fpath
_petal_s3() {{
    local -A known
    known=(
{words}
    )
    local place=petal-s3 number
    for ((number = 2; number < CURRENT; number++)); do
        (( ${{+known[$place $words[number]]}} )) && place="$place $words[number]"
    done
    compadd -- ${{=known[$place]}}
    [[ $place == petal-s3 || $words[CURRENT] == -* ]] || _files
}}
if [[ $funcstack[1] == _petal-s3 ]]; then _petal_s3; else compdef _petal_s3 petal-s3; fi
"""
_FISH = """\
# fish completions of petal-s3: petal-s3 completion fish | source, or this file in
# ~/.config/fish/completions/petal-s3.fish
{words}
"""


class Shell(str, Enum):
    """The shells that can have it."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def script(shell: Shell, top: TyperGroup) -> str:
    """The script for a shell, which completes the commands of ``top``."""
    return _SCRIPTS[shell](top)


_Place = tuple[str, ...]
_Node = TyperCommand | TyperGroup


def _below(command: _Node) -> dict[str, _Node]:
    """The commands below a word, by their names, in order."""
    if not isinstance(command, TyperGroup):
        return {}
    found = sorted(command.commands.items())
    return {name: one for name, one in found if isinstance(one, TyperCommand | TyperGroup)}


def _tree(command: _Node, place: _Place) -> Iterator[tuple[_Place, list[str]]]:
    """Each place in the tree of commands, with the words that may follow there."""
    yield place, [*_below(command), *_choices(command), *_options(command)]
    for name, one in _below(command).items():
        yield from _tree(one, (*place, name))


def _choices(command: _Node) -> list[str]:
    """What an argument may be, where that is one of a few words."""
    return [shell.value for shell in Shell] if command.name == "completion" else []


def _options(command: _Node) -> list[str]:
    shown = [one for one in command.params if isinstance(one, TyperOption) and not one.hidden]
    found = [word for p in shown for word in (*p.opts, *p.secondary_opts)]
    return [*found, "--help"]


def _bash(top: TyperGroup) -> str:
    lines = [f'    ["{" ".join(p)}"]="{" ".join(words)}"' for p, words in _tree(top, (_NAME,))]
    return _BASH.format(words="\n".join(lines))


def _zsh(top: TyperGroup) -> str:
    lines = [f'        "{" ".join(p)}" "{" ".join(words)}"' for p, words in _tree(top, (_NAME,))]
    return _ZSH.format(words="\n".join(lines))


def _fish(top: TyperGroup) -> str:
    return _FISH.format(words="\n".join(_fish_lines(top, ())))


def _fish_lines(command: _Node, place: _Place) -> Iterator[str]:
    below = _below(command)
    seen = [f"__fish_seen_subcommand_from {word}" for word in place]
    none_yet = f"not __fish_seen_subcommand_from {' '.join(below)}"
    for name, one in below.items():
        where = shlex.quote("; and ".join([*seen, none_yet]))
        about = shlex.quote(one.get_short_help_str(100))
        yield f"complete -c {_NAME} -f -n {where} -a {name} -d {about}"
        yield from _fish_lines(one, (*place, name))
    for word in _choices(command):
        yield f"complete -c {_NAME} -f -n {shlex.quote('; and '.join(seen))} -a {word}"
    if not place:
        return
    where = shlex.quote("; and ".join([*seen, none_yet] if below else seen))
    for word in _options(command):
        kind = "-l" if word.startswith("--") else "-s"
        yield f"complete -c {_NAME} -n {where} {kind} {word.lstrip('-')}"


_NAME = "petal-s3"
_SCRIPTS: Mapping[Shell, Callable[[TyperGroup], str]] = MappingProxyType(
    {Shell.BASH: _bash, Shell.ZSH: _zsh, Shell.FISH: _fish}
)
