"""`napctl completion`."""

from __future__ import annotations

import click
import msgspec

from ..invocation import Invocation, pass_invocation
from ..program import Command
from ..shells import SHELLS, script


@click.command(
    cls=Command,
    examples=[
        ("napctl completion bash > ~/.local/share/bash-completion/completions/napctl", ""),
        ("napctl completion zsh > ~/.zfunc/_napctl", "a directory of $fpath"),
        ("napctl completion fish > ~/.config/fish/completions/napctl.fish", ""),
    ],
)
@click.argument("shell", type=click.Choice(SHELLS))
@pass_invocation
@click.pass_context
def completion(ctx: click.Context, invocation: Invocation, shell: str) -> int:
    """Print the script that teaches your shell to complete napctl's commands, options, downloads and shares."""
    text = script(ctx.find_root().command, shell)
    if invocation.json:
        invocation.output.document(msgspec.json.encode({"schema": 1, "shell": shell, "script": text}))
    else:
        invocation.output.text(text)
    return 0
