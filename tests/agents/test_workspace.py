"""What a workspace's settings may name."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.workspace import load_workspace, read_files
from domain.errors import ConfigurationError
from service.settings import make_workspace

CATEGORY = '\n[input.consent_categories]\nNews = { purpose = "%s", channel = "%s" }\n'
ENGAGEMENT = '\n[signals.engagement]\nemail_opened = "%s"\n'


def load(folder: Path, more: str) -> None:
    """Load the starter's workspace with more settings at the end."""
    for _ in make_workspace(folder):
        pass
    files = read_files(folder)
    load_workspace({**files, "settings.toml": files["settings.toml"] + more})


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (CATEGORY % ("marketting", "email"), "`input.consent_categories.News` names purpose"),
        (CATEGORY % ("marketing", "fax"), "`input.consent_categories.News` names channel `fax`"),
        (ENGAGEMENT % "mail", "`signals.engagement.email_opened` names channel `mail`"),
    ],
)
def test_settings_name_only_what_is_declared(tmp_path: Path, more: str, says: str) -> None:
    """A category that maps to nothing would lose every choice; it is refused where it stands."""
    with pytest.raises(ConfigurationError, match="which is not declared") as refused:
        load(tmp_path / "w", more)
    assert says in refused.value.cause
    assert refused.value.place is not None
    path, line = refused.value.place.split(":")
    text = (tmp_path / "w" / path).read_text() + more
    assert text.splitlines()[int(line) - 1].startswith(("News", "email_opened"))


@pytest.mark.parametrize(
    "more",
    [CATEGORY % ("marketing", "email"), CATEGORY % ("analytics", "web"), ENGAGEMENT % "email"],
)
def test_declared_purposes_permissions_and_channels_are_fine(tmp_path: Path, more: str) -> None:
    """A permission is consented to like a purpose."""
    load(tmp_path / "w", more)
