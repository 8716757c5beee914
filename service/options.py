"""What several commands take, and how they print."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from service.terminal import shown

Workspace = Annotated[
    Path | None,
    typer.Option("--workspace", help="A workspace's folder. [default: here, else the starter]"),
]
Store = Annotated[
    str | None,
    typer.Option(
        "--store", help="sqlite:///path or postgresql://host/db. [default: the workspace's]"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
At = Annotated[
    str | None,
    typer.Option("--at", help="An instant, such as 2026-10-05T09:00:00Z. [default: now]"),
]
By = Annotated[str | None, typer.Option("--by", help="Who you are. [default: your login name]")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the record.")]
Audience = Annotated[
    Literal["customer", "agent", "auditor", "approver", "fraud"],
    typer.Option("--audience", help="Who is to read it; some may not know of some rules."),
]


def print_lines(lines: Iterable[str | dict[str, Any]]) -> int:
    """Print text as it is and everything else as JSON, a line each."""
    for line in lines:
        print(shown(line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)))
    return 0


def who(by: str | None) -> str:
    """Who gives a command: whoever is named, else whoever is logged in."""
    if by is not None:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this user id
        return f"uid-{os.getuid()}"
