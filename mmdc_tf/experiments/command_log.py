"""``commands.json``: what was typed to make a run, and where its dataset lay."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from mmdc_tf.io import read_json, write_json

FILE_NAME = "commands.json"


def remember_command(folder: Path, command: str, dataset_root: Path) -> None:
    """Adds a command; the same one given again, to continue a run, takes the place of the earlier.

    The file stands beside ``run.json`` and not in it: that must stay the same for a run to continue.

    Args:
        folder: of a table, as ``OUT/table1``.
        command: as typed.
        dataset_root: the folder of the dataset.
    """
    entry = {
        "command": command,
        "dataset_root": str(dataset_root.resolve()),
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    earlier = [one for one in commands_of(folder) if one["command"] != command]
    write_json(folder / FILE_NAME, {"commands": [*earlier, entry]})


def commands_of(folder: Path) -> list[dict[str, Any]]:
    """The commands so far, each with ``command``, ``dataset_root`` and ``written`` (UTC, ISO 8601), the last one last.

    Args:
        folder: of a table, as ``OUT/table1``; runs of earlier versions have none.

    Raises:
        ConfigurationError: the file is not JSON.
    """
    return (read_json(folder / FILE_NAME) or {"commands": []})["commands"]
