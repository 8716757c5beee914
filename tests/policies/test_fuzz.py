"""Whatever a file holds, it is loaded or refused: no crash, no hang, no half-loaded policies."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.workspace import Workspace, load_workspace, read_case_files, read_files
from domain.errors import ConfigurationError
from domain.verdict import Permit
from policies.cases import Given, judged, read_cases
from policies.expressions import Condition, compile_condition
from policies.guard import Guard
from policies.loader import load_policies
from policies.policy_set import PolicySet
from policies.schema import PolicyFile
from service.policy_files import bench
from service.settings import STARTER
from tests import world
from tests.policies.test_expressions import FIELDS
from tests.world import candidate, context, proposal

SOAK = os.environ.get("SAFECONDUCT_SOAK") == "1"
MUTANTS = 40_000 if SOAK else 250
EXAMPLES = 10_000 if SOAK else 150
FUZZ = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)

FILES = {
    path.relative_to(STARTER).as_posix(): path.read_bytes()
    for path in sorted((STARTER / "policies").glob("*.yaml"))
}
TOKENS = (
    b"{", b"}", b"[", b"]", b": ", b"- ", b"\n", b"  ", b"'", b'"', b"|", b">", b"&a ", b"*a",
    b"!!python/object ", b"#", b"---\n", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xa8",
    b"null", b"true", b"-1", b"1e999", b"9" * 40, b"0x", b"%", b"`", b"&& ", b"|| ", b"!", b"(",
    b")", b"has(", b"signal.open_cases", b"in [", b"? ", b"x" * 300, b"\\", b"\\x", b"00:00-00:00",
    b"2026-99-99", b"ever: {ever: {ever: ", b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
)  # fmt: skip


def mutated(data: bytes, dice: random.Random) -> bytes:
    """The bytes after one to four accidents."""
    for _ in range(dice.randint(1, 4)):
        at, end = sorted(dice.randrange(len(data) + 1) for _ in range(2))
        end = min(end, at + dice.choice((1, 4, 40)))
        match dice.randrange(5):
            case 0:
                data = data[:at] + data[end:]
            case 1:
                data = data[:at] + dice.choice(TOKENS) + data[at:]
            case 2:
                data = data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
            case 3:
                data = data[:at] + data[at:end] * dice.randint(2, 5) + data[end:]
            case _:
                other = FILES[dice.choice(list(FILES))]
                start = dice.randrange(len(other))
                data = data[:at] + other[start : start + 60] + data[end:]
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starter's files, to be damaged."""
    from service.settings import make_workspace

    place = tmp_path_factory.mktemp("fuzz") / "w"
    for _ in make_workspace(place):
        pass
    return place


def tried(folder: Path) -> Workspace | None:
    """The workspace with its cases judged; None where it was refused, with a place."""
    try:
        workspace = load_workspace(read_files(folder))
        for case in read_cases(read_case_files(folder), bench(workspace)):
            judged(case, workspace.guard)
    except ConfigurationError as error:
        assert error.place  # noqa: PT017 - not every file is refused
        return None
    return workspace


@pytest.mark.soakable
def test_a_damaged_file_is_loaded_or_refused(folder: Path) -> None:
    """Policies and cases with bytes lost, doubled and strewn in are refused, or mean something."""
    dice = random.Random(20261125)
    loaded = 0
    for _ in range(MUTANTS):
        name = dice.choice(list(FILES))
        (folder / name).write_bytes(mutated(FILES[name], dice))
        loaded += tried(folder) is not None
        (folder / name).write_bytes(FILES[name])
    assert 0 < loaded < MUTANTS  # both ends are met
    assert tried(folder) is not None


words = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["promo", "email", "granted", "2026-11-25T17:00:00Z", "7d", "08:00-21:00"]),
)  # fmt: skip


def trees(keys: list[str]) -> st.SearchStrategy[Any]:
    """Data of any shape, its keys mostly such as the files know."""
    return st.recursive(
        words,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.one_of(st.sampled_from(keys), st.text(max_size=4)), inner,
                            max_size=4),
        ),
        max_leaves=12,
    )  # fmt: skip


SECTIONS = sorted(PolicyFile.model_fields)
POLICY_KEYS = sorted({*SECTIONS, "id", "limit", "window", "channels", "purposes", "when", "stage",
                      "reason", "title", "model", "address", "type", "role"})  # fmt: skip
GIVEN_KEYS = sorted({*Given.model_fields, "at", "said", "purpose", "channel", "kind", "name"})


@pytest.mark.soakable
@FUZZ
@given(st.dictionaries(st.sampled_from(SECTIONS), trees(POLICY_KEYS), max_size=3))
def test_policies_of_any_shape(data: dict[str, Any]) -> None:
    """Data of any shape become a policy set or none; without purposes, nothing is permitted."""
    try:
        policies = load_policies({"policies/x.yaml": yaml.safe_dump(data, allow_unicode=True)})
    except ConfigurationError as error:
        assert error.place  # noqa: PT017 - not all data are refused
        return
    assert isinstance(policies, PolicySet)
    verdict = Guard(policies, {}).review(proposal(candidate()), context())
    if not policies.purposes:
        assert not isinstance(verdict, Permit)


BENCH = bench(load_workspace(read_files(STARTER)))


@pytest.mark.soakable
@FUZZ
@given(
    st.dictionaries(st.sampled_from(sorted(Given.model_fields)), trees(GIVEN_KEYS), max_size=3),
    trees(GIVEN_KEYS),
)
def test_cases_of_any_shape(situation: dict[str, Any], changes: Any) -> None:
    """Situations of any shape are judged or refused."""
    case = {
        "name": "any", "given": {"now": "2026-11-25T17:00:00Z", **situation},
        "action": "remind_by_email", "changes": changes, "verdict": "permitted",
    }  # fmt: skip
    for one in (case, {key: value for key, value in case.items() if key != "changes"}):
        text = yaml.safe_dump({"cases": [one]}, allow_unicode=True)
        try:
            (found,) = read_cases({"policies/x.cases.yaml": text}, BENCH)
        except ConfigurationError as error:
            assert error.place  # noqa: PT017 - not all data are refused
            continue
        assert judged(found, BENCH.guard).verdict in ("permitted", "held", "denied")


pieces = st.sampled_from(
    [
        "signal.open_cases", "signal.rate", "signal.segment", "signal.shared", "event.value",
        "profile.vip", "has(profile.vip)", "has(event.value)", "has(", "true", "false", "null",
        "0", "1", "-1", "1.0", "1e308", "9" * 30, "'a'", "'\\x00'", '"""b"""', "r'c'", "1u", "[",
        "]", "{", "}", "(", ")", ".", ",", ":", "?", "!", "-", "+", "*", "/", "%", "&&", "||",
        "==", "!=", "<", "<=", ">", ">=", "in", ".contains(", ".startsWith('a')", "// x", "\n",
        "size(", "é", "\u2028", "\x00", "😀",
    ]
)  # fmt: skip


@pytest.mark.soakable
@FUZZ
@given(st.lists(pieces, max_size=40).map(" ".join))
def test_conditions_of_any_words(text: str) -> None:
    """Words of the language in any order are compiled or refused."""
    try:
        found = compile_condition(text, FIELDS, shown_as="x.yaml", line=1)
    except ConfigurationError as error:
        assert error.place  # noqa: PT017 - not every text is refused
        return
    assert isinstance(found, Condition)


def test_a_file_that_is_refused_leaves_nothing_behind() -> None:
    """There is no policy set of the files that were fine when one of them is not."""
    fine = json.dumps({"purposes": dict(world.PURPOSES), "channels": dict(world.CHANNELS)})
    with pytest.raises(ConfigurationError, match=r"^b\.yaml:1:1: "):
        load_policies({"a.yaml": fine, "b.yaml": "frequency_cap: []"})


def test_the_shapes_are_of_the_files_keys() -> None:
    """The keys that data are made of are those of the files."""
    assert set(POLICY_KEYS) <= {*keys_of_policy_files(), *SECTIONS}


def keys_of_policy_files() -> set[str]:
    """Every key of the entries of a policy file."""
    found: set[str] = set()
    for info in PolicyFile.model_fields.values():
        for kind in getattr(info.annotation, "__args__", ()):
            found |= set(getattr(kind, "model_fields", {}))
    return found
