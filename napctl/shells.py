"""Completion scripts, and the answers they ask napctl for while somebody types.

The script for zsh is click's. bash and fish have their own here: click's for bash would expand `*` in a share's
name (and bash, unlike the other two, does not quote what it inserts), the one for fish cuts an offer at a comma.
"""

from __future__ import annotations

import shlex

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    add_completion_class,
    get_completion_class,
)

from .invocation import Invocation
from .program import COMPLETE_VARIABLE

SHELLS = ("bash", "zsh", "fish")

_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' line
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            dir,*) compopt -o dirnames ;;
            file,*) compopt -o default ;;
            plain,*) COMPREPLY+=("${line#plain,}") ;;
        esac
    done < <(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_FISH = """\
function %(complete_func)s
    set -lx %(complete_var)s fish_complete
    set -lx COMP_WORDS (commandline -cp | string collect)
    set -lx COMP_CWORD (commandline -ct | string collect)
    for line in (%(prog_name)s 2>/dev/null)
        set -l parts (string split -m 1 , -- $line)
        switch $parts[1]
            case dir
                __fish_complete_directories "$COMP_CWORD"
            case file
                __fish_complete_path "$COMP_CWORD"
            case plain
                printf '%%s\\n' $parts[2]
        end
    end
end

complete --no-files --command %(prog_name)s --arguments '(%(complete_func)s)'
"""


class _Bash(BashComplete):
    source_template = _BASH

    def format_completion(self, item: CompletionItem[str]) -> str:
        value = item.value if item.type != "plain" else shlex.quote(item.value)
        return f"{item.type},{value}"


class _Fish(FishComplete):
    source_template = _FISH


def script(cli: click.Command, shell: str) -> str:
    """What `napctl completion SHELL` prints."""
    completion = _completion(cli, shell, {})
    return completion.source_template % completion.source_vars()


def answer(cli: click.Command, instruction: str, invocation: Invocation) -> str:
    """The lines that a script asks for; `instruction` is the value of `COMPLETE_VARIABLE`, such as `bash_complete`."""
    shell, _, verb = instruction.partition("_")
    if shell not in SHELLS or verb != "complete":
        return ""
    return _completion(cli, shell, {"obj": invocation}).complete()


def _completion(cli: click.Command, shell: str, context: dict[str, object]) -> ShellComplete:
    add_completion_class(_Bash, "bash")
    add_completion_class(_Fish, "fish")
    kind = get_completion_class(shell)
    if kind is None:
        raise LookupError(shell)
    return kind(cli, context, "napctl", COMPLETE_VARIABLE)
