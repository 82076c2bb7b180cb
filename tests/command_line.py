"""What the tests of the command line share besides fixtures."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from mmdc_tf.cli import main

PROJECT = Path(__file__).parents[1]


def refused(capsys, *arguments: str | Path) -> str:
    """The one line on the error stream of a command that ends with exit code 2."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("mmdc-tf")
    assert "Traceback" not in error
    return error


def imported_by_help(command: str, names: set[str]) -> list[str]:
    """Which of these modules ``mmdc-tf COMMAND --help`` imports."""
    code = (
        "import sys, contextlib, mmdc_tf.cli\n"
        f"with contextlib.suppress(SystemExit): mmdc_tf.cli.main([{command!r}, '--help'])\n"
        f"print(sorted({names!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, timeout=60)
    return ast.literal_eval(done.stdout.splitlines()[-1])
