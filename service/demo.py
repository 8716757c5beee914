"""Shows the main job on the sample journeys: decide, explain, approve, verify."""

from __future__ import annotations

import base64
import tempfile
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

from agents import approvals
from domain.errors import UsageError
from service.assemble import assemble_reading
from service.cli import main
from service.settings import make_workspace

SAMPLES = Path(__file__).parent / "samples" / "events.jsonl"
STORE = "safeconduct.db"


def show(folder: Path | None = None) -> int:
    """Run the demonstration in a folder that is kept, or in one that is thrown away."""
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "shop"
        for _ in make_workspace(folder):
            pass
        _write_key(folder)
        return _tour(folder)


def _tour(folder: Path) -> int:
    here = ["--workspace", str(folder)]
    _title("Eighteen things that customers did, and what was decided about each", "run", "EVENTS")
    _must(["run", str(SAMPLES), *here])
    database = assemble_reading(folder)
    waiting = approvals.pending(database, database.clock())
    database.close()
    if not waiting:
        raise UsageError("the sample events asked for no approval", remedy="report this")
    asked = waiting[0]
    _title("One of them waits for a person; why?", "explain", asked.decision_id)
    _must(["explain", asked.decision_id, *here])
    _title("Somebody who may say yes does", "approvals approve", asked.approval_id, "--by ana")
    _must(["approvals", "approve", asked.approval_id, "--by", "ana", *here])
    print()
    for path in sorted((folder / "outbox" / "email").rglob(f"*{asked.decision_id[2:8]}*.eml")):
        print(f"  sent: {path.name}")
    _title("The same events once more change nothing", "run", "EVENTS")
    _must(["run", str(SAMPLES), *here])
    _title("And the record is whole", "ledger verify")
    _must(["ledger", "verify", *here])
    return 0


def _must(arguments: list[str]) -> None:
    code = main(arguments)
    if code:
        raise UsageError(f"`safeconduct {arguments[0]}` ended with {code}", remedy="see above")


def _title(words: str, *command: str) -> None:
    print(f"\n{words}\n$ safeconduct {' '.join(command)}\n")


def _write_key(folder: Path) -> None:
    # A key that everybody knows, so that everybody sees the same ids: this store holds no person.
    key = folder / f"{STORE}.key"
    key.touch(mode=0o600)
    key.write_bytes(base64.b64encode(sha256(b"safeconduct demonstration").digest()) + b"\n")
