"""What the tests of the command line share besides fixtures."""

from __future__ import annotations

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
