"""Delivers into a folder: a file a message, whole or not there, and there for good once sent."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

from domain.errors import DeliveryError, DeliveryUnknown, StoreError
from tools.channels.channel import NAME, Message, Receipt, check
from tools.channels.mail import compose
from tools.toolbox import Recovery

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_SUFFIXES = ("eml", "json")
WRITERS_MAX = 8


class LocalOutbox:
    """Serves any channel: e-mail as `.eml`, everything else as `.json`.

    A message lies at `folder/<channel>/<day in UTC>/<key>.<suffix>`. It is written beside its place
    and linked to it once it is durable: a name is taken once, so that a key is delivered once,
    whoever tries, and what bears a name is whole. The disk is waited for in threads, by `settle`
    at the latest.

    Args:
        folder: made when the first message is sent.
    """

    __slots__ = ("_folder", "_threads", "_unsettled")

    name = "local"
    recovery: Recovery = "lookup"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(WRITERS_MAX, thread_name_prefix="outbox")
        self._unsettled: set[Future[None]] = set()

    async def send(self, message: Message) -> Receipt:
        """Write it down; `sent` too where this key was already there."""
        try:
            content, suffix = _content(message)
        except DeliveryError as error:
            return Receipt("failed", str(error))
        place = f"{self._folder}/{message.channel}/{_day(message.sent_at)}"
        name = f"{place}/{message.key}.{suffix}"
        part = f"{place}/.{message.key}.{secrets.token_hex(4)}.part"
        try:
            file = _written(Path(place), part, content)
        except OSError as error:
            with suppress(OSError):
                os.unlink(part)  # noqa: PTH108 - as fast as it gets
            return Receipt("failed", f"the outbox cannot be written: {error.strerror}")
        self._unsettled.add(self._threads.submit(_publish, file, part, name))
        return Receipt("sent")

    def settle(self) -> None:
        """Wait until everything sent so far is there for good. Raises `DeliveryUnknown`."""
        waiting = tuple(self._unsettled)
        try:
            for one in waiting:
                one.result()
        except OSError as error:
            raise DeliveryUnknown(
                f"what was sent may not be there: {error.strerror}",
                place=str(self._folder),
                remedy="its outcome is not recorded: mend the disk, and run again",
            ) from error
        self._unsettled.difference_update(waiting)

    def forget(self, keys: Collection[str]) -> None:
        """Destroy the messages of these keys: overwritten, then removed. Raises `StoreError`."""
        wanted = set(keys)
        try:
            for path in self._folder.glob("*/*/*"):
                if path.name.lstrip(".").partition(".")[0] in wanted:
                    _destroy(path)
        except OSError as error:
            raise StoreError(
                f"a sent message cannot be removed: {error.strerror}",
                place=error.filename or str(self._folder),
                remedy="let this process write there, and do it again",
            ) from error

    def close(self) -> None:
        """End the threads, after what they are writing."""
        self._threads.shutdown()

    async def lookup(self, key: str, sent_at: datetime) -> Receipt | None:
        """Whether the file is there. A half-written one is removed, and can then never be sent."""
        if NAME.fullmatch(key) is None:
            return None
        try:
            for channel in _names(self._folder):
                if _has(self._folder / channel / _day(sent_at), key):
                    return Receipt("sent", "found in the outbox")
        except OSError as error:
            return Receipt("unknown", f"the outbox cannot be read: {error.strerror}")
        return None


def _destroy(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\0" * path.stat().st_size)
        file.flush()
        os.fsync(file.fileno())
    path.unlink()
    _sync(path.parent)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names are all that is wanted, and fast
    except (FileNotFoundError, NotADirectoryError):
        return []


def _has(place: Path, key: str) -> bool:
    # In this order: a sender that is merely slow either has linked its file before, or cannot now.
    for name in _names(place):
        if name.startswith(f".{key}."):
            (place / name).unlink(missing_ok=True)
    if not any((place / f"{key}.{suffix}").exists() for suffix in _SUFFIXES):
        return False
    _sync(place)  # whoever linked it may have died before its name was there for good
    return True


def _content(message: Message) -> tuple[bytes, str]:
    if message.channel == "email":
        return compose(message).as_bytes(), "eml"
    check(message)
    shown = {field.name: getattr(message, field.name) for field in fields(message)}
    shown["headers"] = dict(message.headers)
    shown["sent_at"] = message.sent_at.astimezone(UTC).isoformat()
    return (json.dumps(shown, ensure_ascii=False, indent=2) + "\n").encode(), "json"


def _day(at: datetime) -> str:
    return at.astimezone(UTC).date().isoformat()


def _written(place: Path, part: str, content: bytes) -> int:
    """The descriptor of a new file with that content, not yet durable."""
    descriptor = _open(place, part)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open(place: Path, part: str) -> int:
    """The file's descriptor. Folders are looked after only when they turn out to be missing."""
    try:
        return os.open(part, _NEW, 0o600)
    except FileNotFoundError:
        _make(place)
        return os.open(part, _NEW, 0o600)


def _publish(descriptor: int, part: str, name: str) -> None:
    """Link the durable file to its name: the one instant before which nothing was sent."""
    try:
        os.fsync(descriptor)
        with suppress(FileExistsError):  # another sender of this key was first
            os.link(part, name)
    finally:
        os.close(descriptor)
        with suppress(OSError):
            os.unlink(part)  # noqa: PTH108 - as `os.link` above it
    _sync(Path(name).parent)


def _make(folder: Path) -> None:
    """Make what is missing, private from the start, and durable where it is entered."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
        _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
