"""What the tests of the command line share besides fixtures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mmdc_tf.cli import main

PROJECT = Path(__file__).parents[1]
HEAVY = ("tensorflow", "keras", "matplotlib", "gradio", "onnx")
EACH_OF_THEM = f"""
import contextlib, io, json, sys
from mmdc_tf.cli import main
ended = []
for words in json.load(sys.stdin):
    before = set(sys.modules)
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            code = main(words)
        except SystemExit as stop:
            code = stop.code
    ended.append([code, out.getvalue(), err.getvalue(), sorted(set({HEAVY!r}) & set(sys.modules) - before)])
print(json.dumps(ended))
"""


def ended(capsys, *arguments: object) -> tuple[int, str, str]:
    """Exit code, output and error stream of a command."""
    capsys.readouterr()
    try:
        code = main(list(map(str, arguments)))
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, *arguments: object) -> str:
    """The one line on the error stream of a command that ends with exit code 2."""
    code, _, error = ended(capsys, *arguments)
    assert code == 2
    assert error.count("\n") == 1 and error.startswith("mmdc-tf")
    return error


def in_a_process(commands: list[list[str]], folder: Path) -> list[list[Any]]:
    """Code, output, error stream and the heavy modules that each command imported first, in one fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", EACH_OF_THEM],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
