"""The project's prose and files say what the program does."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from daemon.cli.main import ALIASES, TARGETS
from daemon.config import _options

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*/*.md")])
HELP_BLOCK = re.compile(r"<!-- help: (.+?) -->\n+```text\n(.*?)```\n+<!-- /help -->", re.DOTALL)


def commands(document: str) -> list[str]:
    """The lines of a document's console blocks, without their comments."""
    blocks = re.findall(r"```console\n(.*?)```", document.replace("\\\n", " "), re.DOTALL)
    return [line.split("  #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize(("command", "shown"), HELP_BLOCK.findall(README), ids=lambda value: value[:30])
def test_help_blocks_match_the_program(command: str, shown: str) -> None:
    arguments = shlex.split(command)[1:]
    printed = subprocess.run(
        [sys.executable, "-m", "daemon", *arguments], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert shown == printed.stdout, f"put the output of `{command}` into README.md"


def test_there_is_a_help_block() -> None:
    assert HELP_BLOCK.search(README)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_documents_exist(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    known = {*TARGETS, *ALIASES}
    for line in commands(document.read_text(encoding="utf-8")):
        words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
        if words[0] == "make":
            assert words[1] in targets, line
        elif Path(words[0]).name == "tunerd":
            assert words[1] in known, line


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
        assert link.startswith("https://") or (document.parent / link).exists(), link


def test_the_table_of_settings_is_the_program_s() -> None:
    options = _options({"HOME": "~"})
    by_variable = {option.variable: option for option in options.values()}
    shown = dict(re.findall(r"^\| `([A-Z_]+)` \| (.+?) \|", README, re.MULTILINE))
    ours = {name for name in shown if name.startswith(("TUNERD_", "REPLICATE_"))}
    assert ours == {name for name in by_variable if not name.startswith("HF_")}
    for name in ("TUNERD_LISTEN", "TUNERD_MAX_BODY_MIB", "TUNERD_RECONCILE_SECONDS", "REPLICATE_BASE_URL"):
        default = by_variable[name].default
        text = default[0] if isinstance(default, tuple) else f"{default:g}" if isinstance(default, float) else default
        assert shown[name].strip("`") == str(text)


# What the page that this project implements promises answers to, in its words.
PROMISED = ("REPLICATE_API_TOKEN not set", "Invalid token", "queued", "out of memory", "No webhook events", "a proxy")


@pytest.mark.parametrize("words", PROMISED)
def test_troubleshooting_answers_what_was_promised(words: str) -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ") and words in line]


def test_every_document_is_found_from_the_readme() -> None:
    for document in ROOT.glob("docs/*.md"):
        assert f"(docs/{document.name})" in README, f"link {document.name}"


def pinned(name: str) -> dict[str, str]:
    """name → version of a constraints file, of which every line has to be a pin or a hash."""
    found = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        pin = re.fullmatch(r"([a-z0-9-]+)==(\S+)( ; .+)? \\", line)
        assert pin or re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line), f"{name}: {line}"
        if pin:
            found[pin[1]] = pin[2]
    return found


def test_constraints_are_pins_and_hashes_and_agree() -> None:
    runtime, development = pinned("constraints.txt"), pinned("constraints-dev.txt")
    assert runtime.items() <= development.items()
    wanted = [re.match(r"[\w-]+", item)[0] for item in PROJECT["project"]["dependencies"]]  # type: ignore[index]
    assert {name.lower().replace("_", "-") for name in wanted} <= runtime.keys()


def test_every_exception_from_a_rule_has_its_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lint = text[text.index("[tool.ruff.lint]\nselect") : text.index("[tool.ruff.lint.mccabe]")]
    ignored = lint[lint.index("ignore = [") :]
    for line in ignored.splitlines():
        if re.match(r'\s+"[A-Z]+[0-9]*",', line):
            assert "  # " in line, line


def test_ci_runs_the_command_of_the_readme() -> None:
    ci = ROOT / ".ci/run"
    assert os.access(ci, os.X_OK)
    text = ci.read_text(encoding="utf-8")
    assert "make test" in [line.split("  #")[0].strip() for line in commands(README)]
    assert re.search(r"^make test\b", text, re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert '-m "not slow"' in makefile and " -m slow " in text  # what the one leaves out the other runs
    assert "make check" in text
