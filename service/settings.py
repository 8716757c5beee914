"""Where the workspace and its store are: the command line's two options, resolved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agents.workspace import SETTINGS, Workspace, load_workspace, read_files

STARTER = Path(__file__).parent / "starter"
STARTER_HOME = ".safeconduct"


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


def store_url(place: Place, workspace: Workspace, given: str | None) -> str:
    """The store's URL: the one given (relative to here), else the workspace's (to its home)."""
    if given is not None:
        return given
    prefix, url = "sqlite:///", workspace.store_url
    if url.startswith(prefix) and not Path(url.removeprefix(prefix)).is_absolute():
        return f"{prefix}{place.home / url.removeprefix(prefix)}"
    return url
