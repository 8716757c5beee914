from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SAFECONDUCT_SHARED", ROOT.parent / "shared")) / "data"
SOAK = os.environ.get("SAFECONDUCT_SOAK") == "1"


def imported(example: str, target: Path, *files: Path) -> list[dict[str, object]]:
    """What an example importer makes of some files, kept in `target` as well."""
    for file in files:
        if not file.exists():
            pytest.skip(f"{file} is not here: set SAFECONDUCT_SHARED to the folder that has data/")
    command = [sys.executable, str(ROOT / "examples" / example), *map(str, files)]
    made = subprocess.run(command, capture_output=True, check=True)
    target.write_bytes(made.stdout)
    return [json.loads(line) for line in made.stdout.splitlines()]


def run(*files: Path, at: str) -> tuple[dict[str, int], str]:
    """The summary of running files into a store of this folder, and all that was printed."""
    command = [sys.executable, "-m", "service.cli", "run", *map(str, files), "--at", at]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    table = re.findall(r"^(permitted|held|denied|none|duplicate|dead|rows in) +(\d+)", out.stdout,
                       re.MULTILINE)  # fmt: skip
    return {word: int(count) for word, count in table}, out.stdout


def test_luma_runs_through_whole(tmp_path: Path) -> None:
    """Four exports that name people in four ways: each row is a decision or a dead letter."""
    folder = SHARED / "luma"
    names = ("luma-crm.json.gz", "luma-loyalty.json.gz", "luma-offline-purchases.json.gz")
    rows = imported("luma.py", tmp_path / "luma.jsonl", *(folder / name for name in names))
    counts, printed = run(
        tmp_path / "luma.jsonl", folder / "luma-web-events.json.gz", at="2022-11-01T00:00:00Z"
    )
    total = counts.pop("rows in")
    assert total >= len(rows) + 1000
    assert sum(counts.values()) == total
    assert counts.get("dead", 0) <= 2, printed[-2000:]
    verified = subprocess.run(
        [sys.executable, "-m", "service.cli", "ledger", "verify", "--json"],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    said = json.loads(verified.stdout)
    assert said["decisions"] == total - counts.get("dead", 0) - counts.get("duplicate", 0)
    assert 900 < said["people"] < 1500


@pytest.mark.soakable
def test_cdnow_keeps_every_equal_row(tmp_path: Path) -> None:
    """Purchases without ids, some wholly identical: each is one event, and once only."""
    name = "CDNOW_master.txt" if SOAK else "CDNOW_sample.txt"
    rows = imported("cdnow.py", tmp_path / "all.jsonl", SHARED / "cdnow" / name)
    kept = rows if SOAK else rows[:2500]
    lines = [json.dumps(row) for row in kept]
    assert SOAK or len(set(lines)) < len(lines), "no two rows are equal, so nothing is shown"
    path = tmp_path / "cdnow.jsonl"
    path.write_text("\n".join(lines) + "\n")
    counts, _ = run(path, at="1999-01-01T00:00:00Z")
    assert counts == {"none": len(lines), "rows in": len(lines)}
    again, _ = run(path, at="1999-01-01T00:00:00Z")
    assert again == {"duplicate": len(lines), "rows in": len(lines)}
