"""Paths as tables write them, and the files that they mean."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mmdc_tf.errors import DatasetError


def relative_path(text: str, source: str | Path) -> str:
    """Returns a table's path with forward slashes.

    Args:
        text: a path relative to the dataset's root, with ``/`` or back-slashes.
        source: the table, for the message.

    Raises:
        DatasetError: the path is absolute or leaves the root with ``..``.
    """
    path = PurePosixPath(text.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", text):
        raise DatasetError(
            f"Expected a path below the dataset's root. Received: {text!r} in {source}. "
            "Write it relative to the root, without '..'."
        )
    return str(path) if text else ""


@dataclass(frozen=True)
class PathFinder:
    """Files as tables name them: with ``/`` or back-slashes, in any case, with composed or decomposed characters.

    Archives made on Windows name one file in two ways (``_Mask.jpg``, ``_MASK.jpg``), and macOS decomposes "é".

    Args:
        base: the folder that relative paths start from.
    """

    base: Path
    _listed: dict[Path, dict[str, str]] = field(default_factory=dict, repr=False)

    def find(self, text: str) -> Path | None:
        """Returns the file or folder of exactly this name, else of one that differs as said above, else None."""
        if _exists(exact := self.base / text):
            return exact
        here = self.base
        for part in PurePosixPath(text.replace("\\", "/")).parts:
            found = here / part
            if not _exists(found):
                name = self._names(here).get(_folded(part))
                if name is None:
                    return None
                found = here / name
            here = found
        return here

    def _names(self, folder: Path) -> dict[str, str]:
        if folder not in self._listed:
            names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
            self._listed[folder] = {_folded(name): name for name in names}
        return self._listed[folder]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, among others
        return False


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())
