from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "agents", "domain", "evals", "policies", "profiles", "service", "store", "tools", "traces",
)  # fmt: skip
WORTHLESS = {"utils", "helpers", "common", "base", "core", "manager", "main", "types", "misc"}


def tracked() -> list[Path]:
    """The files that belong to the project."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout, so nobody knows which files belong to it")
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return [ROOT / name for name in found.stdout.decode().split("\0") if name]


def modules() -> Iterator[tuple[Path, ast.Module]]:
    """Every Python file of the packages, parsed."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path, ast.parse(path.read_text())


def test_packages_hold_a_docstring_and_nothing_else() -> None:
    """Importing a package imports nothing with it."""
    for path, tree in modules():
        if path.name == "__init__.py":
            assert len(tree.body) == 1, path
            assert ast.get_docstring(tree), path


def test_names_say_what_a_module_holds() -> None:
    """No module has a name that could hold anything."""
    assert not [path for path, _ in modules() if path.stem in WORTHLESS]


def test_no_installed_distribution_owns_our_names() -> None:
    """Whatever is installed beside, `agents` and `tools` are ours."""
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin == str(ROOT / package / "__init__.py")
    owners = importlib.metadata.packages_distributions()
    claimed = {p: set(owners.get(p, [])) - {"safeconduct"} for p in PACKAGES}
    assert not {package: names for package, names in claimed.items() if names}


def test_nothing_names_a_registry_or_a_machine() -> None:
    """No file says where it was built or where its dependencies came from."""
    hosts = ["py" + "pi.org", "python" + "hosted", "npm" + "js.org", "debian" + ".org"]
    places = ["/" + place + "/" for place in ("root", "work", "opt")]
    for path in tracked():
        if path.suffix in (".png",) or not path.exists():
            continue
        text = path.read_text(encoding="utf-8")
        for word in (*hosts, *places):
            assert word not in text, f"{path.relative_to(ROOT)} names {word}"


def test_every_requirement_is_locked_by_hash() -> None:
    """What is installed is what was locked, whoever serves it."""
    for name in ("run", "dev", "uv"):
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        assert "://" not in text
        assert "--index" not in text
        assert "--find-links" not in text
        for block in re.split(r"\n(?=[a-z])", text.strip()):
            assert re.match(r"[a-z0-9_.-]+==\S+", block), block[:80]
            assert "--hash=sha256:" in block, block[:80]


def test_every_test_says_what_it_proves() -> None:
    """Each test opens with one sentence: the truth that it proves."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                words = ast.get_docstring(node)
                assert words, f"{path.name}: {node.name}"
                assert words[0].isupper() or words[0] in "`0123456789", node.name
                assert words.rstrip().endswith("."), f"{path.name}: {node.name}"


def test_every_folder_introduces_itself() -> None:
    """Each folder says in about ten lines which question it answers and what it may import."""
    for folder in (*PACKAGES, "tests", "docs", "requirements"):
        lines = (ROOT / folder / "README.md").read_text().splitlines()
        assert lines[0].startswith(f"# {folder}: "), folder
        assert lines[0].endswith("?"), folder
        assert len(lines) <= 12, folder


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_program_says() -> None:
    """Every command, option and workspace key is documented, as it is."""
    for page, write in _generator().PAGES.items():
        kept = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
        assert kept == write() + "\n", f"docs/reference/{page} is out of date: run `make docs`"


def test_every_event_reason_and_code_is_documented() -> None:
    """A dead letter's reason can be looked up."""
    from profiles.reading import REASONS

    text = (ROOT / "docs" / "reference" / "events.md").read_text()
    assert not [reason for reason in REASONS if f"`{reason}`" not in text]


def test_links_lead_somewhere() -> None:
    """Every relative link in the documents names a file that is there."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


ID = re.compile(r"\b(d|p|a|c|permit)-[0-9a-z-]{16,}")


def _blocks(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The commands of a page's console blocks, each with the output that follows it."""
    command, output = "", list[str]()
    for block in re.findall(r"```console\n(.*?)```", path.read_text(), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, output
                command, output = line.removeprefix("$ "), []
            else:
                output.append(line)
    yield command, output


def _same(shown: list[str], printed: list[str]) -> bool:
    """Whether what a page shows is what was printed; `...` stands for any lines, or any id."""
    pattern = "\n".join(shown)
    pattern = re.escape(ID.sub("ID", pattern).replace("d-...", "ID").replace("p-...", "ID"))
    pattern = pattern.replace(re.escape("a-..."), "ID").replace(re.escape("..."), r"[\s\S]*?")
    return re.fullmatch(pattern, ID.sub("ID", "\n".join(printed))) is not None


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_the_commands_of_a_page_print_what_it_shows(page: str, tmp_path: Path) -> None:
    """Whoever types what the page says sees what the page shows."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path}
    named: dict[str, str] = {}
    count = 0
    for command, shown in _blocks(ROOT / page):
        if command == "cat events.jsonl":
            (tmp_path / "events.jsonl").write_text("\n".join(shown) + "\n")
        for old, new in named.items():
            command = command.replace(old, new)
        ran = subprocess.run(
            ["sh", "-c", command],
            cwd=tmp_path, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert ran.returncode == 0, (command, ran.stderr)
        printed = ran.stdout.splitlines()
        # The page's ids were made with another key: its second id is this run's second.
        old_ids = re.findall(r"\bd-[0-9a-z]{26}", "\n".join(shown))
        new_ids = re.findall(r"\bd-[0-9a-z]{26}", ran.stdout)
        named.update(zip(old_ids, new_ids, strict=False))
        assert _same(shown, printed), f"{command}\nshown:\n{shown}\nprinted:\n{printed}"
        count += 1
    assert count >= 5


def test_the_demonstration_shows_the_main_job(tmp_path: Path) -> None:
    """`safeconduct demo` decides, explains, approves, repeats without effect, and verifies."""
    command = shutil.which("safeconduct", path=str(Path(sys.executable).parent))
    assert command is not None
    here = tmp_path / "here"
    ran = subprocess.run([command, "demo"], cwd=here, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    for words in (
        "remind_by_email       permitted",
        "quiet hours until 08:00",
        "the customer objected to this",
        "It is held for an approval",
        "apology_voucher       permitted",
        "waits until 15:40:00Z for `order_completed`",
        "duplicate          18",
        "the ledger verifies: 7 people",
    ):
        assert words in ran.stdout
    assert not list(here.iterdir())
