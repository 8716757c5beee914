"""Where the workspace and its store are: the command line's two options, resolved."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from agents.workspace import SETTINGS, Workspace, load_workspace, read_files
from domain.errors import ConfigurationError, UsageError
from policies.documents import Duration, Instant

STARTER = Path(__file__).parent / "starter"
STARTER_HOME = ".safeconduct"
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Place:
    """A workspace's folder of text, and its home: where a relative store and the outbox are."""

    folder: Path
    home: Path
    is_starter: bool

    @property
    def outbox(self) -> Path:
        """The local outbox."""
        return self.home / "outbox"

    @property
    def retrieval(self) -> Path:
        """What offers are found by; it is made from the workspace, and anew where it is lost."""
        return self.home / "retrieval"


def find_workspace(given: Path | None) -> Place:
    """The folder given, else the current one if it holds `settings.toml`, else the starter.

    The built-in starter is read where it is installed; its store and outbox are kept under
    `.safeconduct/` in the current folder.
    """
    if given is not None:
        return Place(given, given, is_starter=False)
    here = Path.cwd()
    if (here / SETTINGS).is_file():
        return Place(here, here, is_starter=False)
    return Place(STARTER, here / STARTER_HOME, is_starter=True)


def load(place: Place) -> Workspace:
    """The workspace in that folder, checked and compiled."""
    return load_workspace(read_files(place.folder))


def stated_url(place: Place) -> str:
    """The store's URL in `settings.toml`, whatever else of the workspace cannot be used."""
    try:
        url = tomllib.loads((place.folder / SETTINGS).read_text("utf-8"))["store"]["url"]
    except (OSError, ValueError, LookupError, TypeError):
        url = None
    if not isinstance(url, str):
        raise ConfigurationError(
            "the store's URL cannot be read", place=SETTINGS, remedy="name it with `--store`"
        )
    return url


def store_url(place: Place, stated: str, given: str | None) -> str:
    """The store's URL: the one given (relative to here), else the workspace's (to its home)."""
    if given is not None:
        return given
    prefix, url = "sqlite:///", stated
    if url.startswith(prefix) and not Path(url.removeprefix(prefix)).is_absolute():
        return f"{prefix}{place.home / url.removeprefix(prefix)}"
    return url


def make_workspace(folder: Path) -> Iterator[str]:
    """Copy the starter into a new or empty folder; yields what to tell about it."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(
                "there is something here already",
                place=str(folder),
                remedy="name a folder that does not exist yet, or an empty one",
            )
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(STARTER.rglob("*")):
            target = folder / path.relative_to(STARTER)
            if path.is_dir():
                target.mkdir(exist_ok=True)
            elif path.suffix in (".toml", ".yaml"):
                shutil.copyfile(path, target)
                yield f"wrote {target}"
    except OSError as error:
        raise UsageError(
            f"the workspace cannot be written: {(error.strerror or str(error)).lower()}",
            place=error.filename or str(folder),
            remedy="name a folder that you may write to",
        ) from None
    load_workspace(read_files(folder))
    yield f"next: `safeconduct run EVENTS --workspace {folder}`"


def instant_given(text: str | None, option: str = "--at") -> datetime | None:
    """The instant of an option. Raises `UsageError` where it is none."""
    if text is None:
        return None
    try:
        at: datetime = TypeAdapter(Instant).validate_python(text)
    except ValidationError:
        raise UsageError(
            f"`{text}` is no instant",
            place=f"option `{option}`",
            remedy="write it with its zone: `2026-10-05T09:00:00Z`",
        ) from None
    return at.astimezone(UTC)


def day_given(text: str | None, option: str) -> datetime | None:
    """The instant of an option; a day alone is its beginning in UTC, so that no time is lost."""
    if text is not None and _DAY.fullmatch(text):
        text = f"{text}T00:00:00Z"
    return instant_given(text, option)


def duration_given(text: str) -> timedelta:
    """The span of `--reorder`; `0s` is none. Raises `UsageError` where it is no duration."""
    if text in ("0", "0s"):
        return timedelta(0)
    try:
        span: timedelta = TypeAdapter(Duration).validate_python(text)
    except ValidationError:
        raise UsageError(
            f"`{text}` is no duration",
            place="option `--reorder`",
            remedy="write it as `30s`, `5m` or `1h`",
        ) from None
    return span
