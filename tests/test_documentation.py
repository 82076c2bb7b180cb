"""The documentation stays true: each command parses, each link and anchor leads somewhere, each example runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mmdc_tf.cli import parser

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "data" / "README.md", *(ROOT / "docs").glob("*.md")])
COMMAND = re.compile(r"^\s*(?:\$ )?(?:python run_experiments\.py|mmdc-tf|python -m mmdc_tf) .*", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
NUMBERS = {"N": "2", "HOST:PORT": "h:1"}


def commands() -> list[str]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        blocks = re.findall(r"(?:^(?: {4}|\t).*\n?)+|```.*?```", text, re.MULTILINE | re.DOTALL)
        found += [line.strip() for block in blocks for line in COMMAND.findall(block)]
    return sorted(set(found))


@pytest.mark.parametrize("command", commands())
def test_each_documented_command_parses(command, monkeypatch):
    words = [NUMBERS.get(word, word) for word in shlex.split(command.lstrip("$ "), comments=True) if word != "…"]
    words = words[2:] if words[1] == "run_experiments.py" else words[3:] if words[0] == "python" else words[1:]
    words = ["run", *words] if "run_experiments.py" in command else words
    if words == ["--version"] or "--help" in words:
        return
    assert hasattr(parser().parse_args(words), "command")


def slugs(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_each_link_leads_somewhere(page):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        place, _, anchor = target.partition("#")
        if place.startswith(("http", "mailto:")):
            continue
        file = (page.parent / place).resolve() if place else page
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in slugs(file), target


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_each_example_runs_on_a_phantom(example, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(example)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "phantom: not a reproduction" in done.stdout
