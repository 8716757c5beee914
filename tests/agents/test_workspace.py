"""What a workspace's settings may name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agents.workspace import Workspace, load_workspace, read_files
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


def changed(folder: Path, name: str, old: str, new: str) -> Workspace:
    """The starter's workspace with one text in place of another."""
    for _ in make_workspace(folder):
        pass
    files = read_files(folder)
    assert old in files[name]
    return load_workspace({**files, name: files[name].replace(old, new, 1)})


@pytest.mark.parametrize(
    ("name", "old", "new", "place", "says"),
    [
        (
            "actions.yaml",
            "    purpose: marketing\n    topic: carts\n    subject",
            "    purpose: service\n    topic: carts\n    subject",
            "actions.yaml:8",
            "action `remind_by_email` needs no consent under `service` and is not among its",
        ),
        (
            "policies/consent.yaml",
            "[checkout_help]",
            "[checkout_help, checkout_hepl]",
            "policies/consent.yaml:15",
            "purpose `order_update` lists template `checkout_hepl`, which is no message of its",
        ),
        (
            "policies/consent.yaml",
            "[checkout_help]",
            "[checkout_help, send_guide]",
            "policies/consent.yaml:15",
            "purpose `order_update` lists template `send_guide`, which is no message of its",
        ),
        (
            "policies/consent.yaml",
            "[send_guide, confirm_stop]",
            "[send_guide, confirm_stop, hand_over]",
            "policies/consent.yaml:8",
            "purpose `service` lists template `hand_over`, which is no message of its",
        ),
        (
            "actions.yaml",
            '    body: "Your cart is still here."',
            '    body: "Your cart is still here."\n    blocks: [{text: "More."}]',
            "actions.yaml:40",
            "action `cart_banner` has a `body` beside its `blocks`",
        ),
        (
            "actions.yaml",
            '    body: "Your cart is still here."',
            '    blocks:\n      - {text: "Hello {{ profile.first_name }}."}',
            "actions.yaml:40",
            "field `profile.first_name` may be absent and has no default",
        ),
    ],
)
def test_what_is_sent_without_consent_is_listed(
    tmp_path: Path, name: str, old: str, new: str, place: str, says: str
) -> None:
    """A message under an exempt purpose is on the purpose's list, and the list names no other."""
    with pytest.raises(ConfigurationError) as refused:
        changed(tmp_path / "w", name, old, new)
    assert says in refused.value.cause
    assert refused.value.place == place


def test_blocks_are_the_body(tmp_path: Path) -> None:
    """A message in blocks is sent as their texts in order, and keeps what each is for."""
    banner = changed(
        tmp_path / "w",
        "actions.yaml",
        '    body: "Your cart is still here."',
        '    blocks:\n      - {text: "Your cart is still here."}\n'
        '      - {text: "5 % off today.", kind: promotion}',
    ).actions["cart_banner"]
    assert banner.body == "Your cart is still here.\n\n5 % off today."
    assert [block.kind for block in banner.blocks] == ["information", "promotion"]
    assert banner.promotional_blocks == (2,)


CONTACT = "policies/contact.yaml"


def capped(folder: Path, scope: str) -> None:
    """Load the starter's workspace with one more cap."""
    for _ in make_workspace(folder):
        pass
    files = read_files(folder)
    first = "frequency_caps:\n"
    more = f"{first}  - id: more\n    limit: 1\n    window: 7d\n    {scope}\n"
    load_workspace({**files, CONTACT: files[CONTACT].replace(first, more)})


@pytest.mark.parametrize(
    ("scope", "says"),
    [
        ("brands: [shop, bank]", "cap `more` counts brand `bank`, and there is none"),
        ("topics: [cartz]", "cap `more` counts topic `cartz`"),
        ("journeys: [welcom]", "cap `more` counts journey `welcom`"),
        ("teams: [nobody]", "cap `more` counts team `nobody`"),
        ("groups: [offers]", "cap `more` counts group `offers`"),
        ("per: household", "cap `more` counts per household, and nothing says which one"),
    ],
)
def test_a_cap_that_would_never_bind_is_refused(tmp_path: Path, scope: str, says: str) -> None:
    """A slip of the pen in a scope is no cap that counts nothing; the place is the cap's."""
    with pytest.raises(ConfigurationError) as refused:
        capped(tmp_path / "w", scope)
    assert says in refused.value.cause
    assert refused.value.place == f"{CONTACT}:{_line_of_more(tmp_path)}"
    assert refused.value.remedy


def _line_of_more(tmp_path: Path) -> int:
    text = (tmp_path / "w" / CONTACT).read_text().splitlines()
    return text.index("frequency_caps:") + 2


def test_a_cap_may_also_count_what_others_send(tmp_path: Path) -> None:
    """Beside a topic of ours there may be one that only another system's contacts are of."""
    capped(tmp_path / "w", "topics: [carts, their_newsletter]")


def test_what_may_never_end_is_no_file(tmp_path: Path) -> None:
    """A pipe or a device among the policies is named, and not read for ever."""
    for _ in make_workspace(tmp_path / "w"):
        pass
    pipe = tmp_path / "w" / "policies" / "pipe.yaml"
    os.mkfifo(pipe)
    with pytest.raises(ConfigurationError, match=r"policies/pipe\.yaml: this is no file"):
        read_files(tmp_path / "w")
