from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.errors import StoreError, StoreLocked
from store import tables as t
from store.database import open_database
from store.work import Work

ROOT = Path(__file__).resolve().parents[2]

HOLDER = """
import sys
from store import tables as t
from store.database import open_database
from store.work import Work
database = open_database(sys.argv[1])
work = Work()
work.insert(t.counters, key="held", amount=1)
database.commit([work])
print("open", flush=True)
sys.stdin.read()
"""

OPENER = """
import sys
from domain.errors import StoreLocked
from store.database import open_database
try:
    open_database(sys.argv[1])
except StoreLocked as error:
    print(error)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "s.db"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that writes the store, and lives until it is told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, f"sqlite:///{path}"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_second_writer_is_refused_and_told_who_holds_the_store(
    path: Path, holder: subprocess.Popen[bytes]
) -> None:
    """The refusal names the holding process, the store, and what still works."""
    with pytest.raises(StoreLocked, match=f"process {holder.pid}") as told:
        open_database(f"sqlite:///{path}")
    assert told.value.place == str(path)
    assert "reading commands work meanwhile" in str(told.value.remedy)


def test_a_second_writing_process_is_refused(path: Path, holder: subprocess.Popen[bytes]) -> None:
    """Two processes of which neither is this one exclude each other too."""
    second = subprocess.run(
        [sys.executable, "-c", OPENER, f"sqlite:///{path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"process {holder.pid}" in second.stdout


def test_the_lock_is_free_after_its_holder_was_killed(
    path: Path, holder: subprocess.Popen[bytes]
) -> None:
    """The system frees the lock of a process that ended without a word."""
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    open_database(f"sqlite:///{path}").close()


def test_the_lock_is_free_after_its_holder_has_closed(
    path: Path, holder: subprocess.Popen[bytes]
) -> None:
    """A writer that ends in good order leaves nothing in the next one's way."""
    holder.communicate(b"")
    open_database(f"sqlite:///{path}").close()
    open_database(f"sqlite:///{path}").close()


def test_a_reader_works_while_another_process_writes(
    path: Path, holder: subprocess.Popen[bytes]
) -> None:
    """Reading asks for no lock, and sees what the holder has committed."""
    assert holder.poll() is None
    reader = open_database(f"sqlite:///{path}", writable=False)
    assert reader.meta("key_check") == reader.vault.check
    reader.close()


def test_one_process_cannot_open_a_store_twice_for_writing(path: Path) -> None:
    """The lock is between connections, not only between processes."""
    first = open_database(f"sqlite:///{path}")
    with pytest.raises(StoreLocked):
        open_database(f"sqlite:///{path}")
    first.close()
    open_database(f"sqlite:///{path}").close()


def test_a_store_reached_by_another_name_is_the_same_store(path: Path, tmp_path: Path) -> None:
    """A symbolic link opens no second way past the lock."""
    link = tmp_path / "link.db"
    link.symlink_to(path)
    first = open_database(f"sqlite:///{path}")
    with pytest.raises(StoreLocked):
        open_database(f"sqlite:///{link}")
    first.close()


@pytest.mark.parametrize("damage", ["key", "file"])
def test_a_store_that_cannot_be_opened_keeps_no_lock(path: Path, damage: str) -> None:
    """A failed opening leaves the lock free for the next try."""
    open_database(f"sqlite:///{path}").close()
    whole = path.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        if damage == "key":
            patch.setenv("SAFECONDUCT_KEY", "nonsense")
        else:
            path.write_bytes(b"rubbish" * 1000)
        with pytest.raises(StoreError) as told:
            open_database(f"sqlite:///{path}")
        assert not isinstance(told.value, StoreLocked)
    path.write_bytes(whole)
    database = open_database(f"sqlite:///{path}")
    work = Work()
    work.insert(t.counters, key="k", amount=1)
    assert database.commit([work]) == [True]
    database.close()
