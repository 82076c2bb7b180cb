"""What the readers share: folders, finding on disk what a table names, and naming what was passed over."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath

import pandas as pd

from mmdc_tf.datasets.images import IMAGE_SUFFIXES
from mmdc_tf.datasets.schema import NOTICE_FILE, PARAMETERS_FILE
from mmdc_tf.errors import DatasetError, did_you_mean_path

MASK_NAME = re.compile(r"(?P<before>.+?)[\s_-]*(?<![a-z])mask[\s_-]*\(?\d*\)?|mask[\s_-]+(?P<after>.+)", re.IGNORECASE)
"""A lesion mask's name without its suffix, and in it that of its image: NAME_Mask, NAME_mask_1, Mask_NAME."""


def require_folder(root: str | Path) -> Path:
    """Returns the folder as an absolute path; DatasetError where it is none, or empty, or its name is no text."""
    folder = Path(root).expanduser().resolve()
    if folder.is_dir() and any(folder.iterdir()):
        require_text(folder)
        return folder
    state = "an empty folder" if folder.is_dir() else "a file" if folder.exists() else "no such folder"
    raise DatasetError(
        f"Expected a folder with a dataset. Received: root={str(root)!r} ({state}). "
        + did_you_mean_path(folder, "Give the folder that holds the files (layouts: docs/datasets.md).")
    )


def require_text(path: Path) -> None:
    """Raises DatasetError for a path whose bytes are no UTF-8: no table, page or JSON file could name it."""
    if _printable_bytes(str(path)) != str(path):
        raise DatasetError(
            f"Expected names of files and folders in UTF-8. Received: {_printable_bytes(str(path))}. Rename it."
        )


def _printable_bytes(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inner_folder(root: Path, name: str, is_it: Callable[[Path], bool]) -> tuple[Path, tuple[str, ...]]:
    """Goes down to the folder of the files: archives unpack into folders of their own, at times one inside another.

    Args:
        root: where to begin.
        name: how the dataset's own folder begins, in any case; the only such sub-folder is always entered.
        is_it: whether a folder holds the files; one that does not is left for its only sub-folder.

    Returns:
        The folder that holds them, or ``root``, and a note on files beside it. Links and hidden folders are passed by.
    """
    folder = _inner(root, name, is_it)
    beside = (path for path in index_files(root).files if folder not in path.parents) if folder != root else ()
    return folder, passed_over_note(sorted(beside), root)


def _inner(root: Path, name: str, is_it: Callable[[Path], bool]) -> Path:
    inner = sub_folders(root)
    named = [path for path in inner if path.name.casefold().startswith(name.casefold())]
    if len(named) == 1:
        return _inner(named[0], name, is_it)
    below = _inner(inner[0], name, is_it) if len(inner) == 1 and not is_it(root) else root
    return below if is_it(below) else root


def sub_folders(folder: Path) -> list[Path]:
    """The folders in a folder but links, hidden ones and what macOS adds to archives, in order."""
    hidden = (".", "__MACOSX")
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink() and not p.name.startswith(hidden))


def content_of(folder: Path) -> str:
    """What stands in a folder, for a message: its first sub-folders, and how many files of which kind."""
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    folders = [f"{_printable_bytes(path.name)}/" for path in entries if path.is_dir()]
    files = [path.relative_to(folder) for path in entries if not path.is_dir()]
    more = [f"{len(folders) - 5:,} more folders"] if len(folders) > 5 else []
    return (
        ", ".join([*folders[:5], *more, *([f"files: {len(files):,} ({kinds(files)})"] if files else [])]) or "nothing"
    )


def relative_path(text: str, source: str | Path) -> str:
    """Returns a table's path, written with ``/`` or back-slashes, with forward slashes.

    Raises:
        DatasetError: the path is absolute or leaves the root with ``..``; it names ``source``, the table.
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
    _listed: dict[Path, dict[str, list[str]]] = field(default_factory=dict, repr=False)

    def find(self, text: str) -> Path | None:
        """Returns the file or folder of exactly this name, else of one that differs as said above, else None.

        Raises:
            DatasetError: several differ so.
        """
        if _exists(exact := self.base / text):
            return exact
        here = self.base
        for part in PurePosixPath(text.replace("\\", "/")).parts:
            names = [part] if _exists(here / part) else self._names(here).get(_folded(part), [])
            if len(names) > 1:
                raise DatasetError(
                    f"Expected one file of a name, whatever its case. Received: {text!r}, which may be "
                    f"{' or '.join(map(repr, names))} in {here}. Rename one of them, or write the name as it is."
                )
            if not names:
                return None
            here = here / names[0]
        return here

    def _names(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._listed:
            self._listed[folder] = defaultdict(list)
            for name in sorted(path.name for path in folder.iterdir()) if folder.is_dir() else ():
                self._listed[folder][_folded(name)].append(name)
        return self._listed[folder]


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, among others
        return False


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


@dataclass(frozen=True)
class FileIndex:
    """The files below a folder.

    Args:
        files: those that may be read.
        finder: finds them by the names in a table.
        outside: links out of the folder, which are no files of it.
        idle: links to folders inside it, which are found there, and links that lead nowhere.
    """

    files: frozenset[Path]
    finder: PathFinder
    outside: tuple[Path, ...] = ()
    idle: tuple[Path, ...] = ()

    def find(self, relative: str) -> Path | None:
        """Returns the file that ``PathFinder.find`` finds, None where it is none of the folder."""
        found = self.finder.find(relative)
        return found if found in self.files else None


def index_files(root: Path) -> FileIndex:
    """Lists the files below the folder once; files whose name starts with a dot are left out.

    Links to files inside are followed, links to folders never; links that leave the folder are listed as such: they may
    lead to anybody's files. ``root`` is resolved.
    """
    paths = sorted(path for path in root.rglob("*") if not path.name.startswith("."))
    # Path.resolve raises on a circle
    outside = [p for p in paths if p.is_symlink() and not Path(os.path.realpath(p)).is_relative_to(root)]
    others = set(paths) - set(outside)
    files = frozenset(path for path in others if path.is_file())
    idle = sorted(path for path in others - files if path.is_symlink())
    return FileIndex(files, PathFinder(root), tuple(outside), tuple(idle))


def links_notes(index: FileIndex) -> tuple[str, ...]:
    """Returns notes on links that were not followed."""
    kinds_of_links = {
        "links that leave the dataset's folder, not followed": index.outside,
        "links to its own folders, or to nothing, not followed": index.idle,
    }
    named = {kind: [p.relative_to(index.finder.base).as_posix() for p in ps] for kind, ps in kinds_of_links.items()}
    return tuple(f"{kind}: {_examples(names)}" for kind, names in named.items() if names)


def keep_found(table: pd.DataFrame, root: Path, index: FileIndex) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Keeps the rows of a sample table with paths relative to ``root`` whose image is on disk.

    Returns:
        The rows with paths as on disk (lesion masks that are absent dropped), and notes on what is not there.

    Raises:
        DatasetError: no image of the table is there, or a name may be that of several files.
    """
    found = [index.find(path) for path in table["image_path"]]
    links = links_notes(index)
    here = pd.Series([path is not None for path in found], index=table.index)
    absent, notes = list(table.loc[~here, "image_path"]), links
    if not here.any():
        raise DatasetError(
            f"Expected the images that the table lists. Received: root={str(root)!r} with none of "
            f"{len(table):,}, for example {absent[0]!r}. Unpack the images there, or give another root."
            + "".join(f" ({note}.)" for note in links)
        )
    kept = table[here].assign(image_path=[str(path) for path in found if path is not None])
    masks = [[(mask, index.find(mask)) for mask in row] for row in kept["lesion_masks"]]
    kept["lesion_masks"] = pd.Series([tuple(str(path) for _, path in row if path) for row in masks], kept.index, object)
    if lost_masks := [mask for row in masks for mask, path in row if path is None]:
        notes = (f"lesion masks that the table names and that were not found: {_examples(lost_masks)}", *notes)
    if absent:
        what = (
            f"the table lists {len(table):,} images, {len(absent):,} {'was' if len(absent) == 1 else 'were'} not found"
        )
        shown = ", ".join(map(_printable_bytes, absent[:3]))
        notes = (f"{what} under {root}, for example {shown}; going on with {len(kept):,}", *notes)
    return kept.reset_index(drop=True), notes


def _examples(names: list[str]) -> str:
    return f"{len(names):,}, for example {', '.join(map(_printable_bytes, names[:3]))}"


def unlisted_notes(table: pd.DataFrame, source: Path, root: Path, index: FileIndex) -> tuple[str, ...]:
    """Returns notes on the image files that no row names, and on all other files that were not used.

    Args:
        table: a sample table with paths as on disk, read from ``source``.
        root: the dataset's folder, of which ``index`` lists the files.
    """
    named = {source, *map(Path, table["image_path"]), *(Path(mask) for row in table["lesion_masks"] for mask in row)}
    unused = sorted(index.files - named)
    images = [path for path in unused if path.suffix.lower() in IMAGE_SUFFIXES and "mask" not in path.stem.lower()]
    others = passed_over_note(sorted(set(unused) - set(images)), root)
    if not images:
        return others
    names = [path.relative_to(root).as_posix() for path in images]
    return (f"image files that no row of the table names: {_examples(names)}", *others)


def passed_over_note(paths: Iterable[Path], root: Path) -> tuple[str, ...]:
    """Returns a note on files that a reader did not use, but those that say that a folder is a phantom."""
    passed = [path for path in paths if path.name not in (NOTICE_FILE, PARAMETERS_FILE)]
    if not passed:
        return ()
    return (f"files passed over: {len(passed):,} ({kinds(path.relative_to(root) for path in passed)})",)


def kinds(paths: Iterable[PurePath]) -> str:
    """How many paths there are of each suffix, the most frequent first, each with an example."""
    by_kind = defaultdict(list)
    for path in paths:
        by_kind[path.suffix.lower() or "no suffix"].append(path.as_posix())
    ordered = sorted(by_kind.items(), key=lambda kind: (-len(kind[1]), kind[0]))
    parts = [f"{kind}: {len(names):,}, for example {_printable_bytes(names[0])}" for kind, names in ordered[:8]]
    more = [f"other kinds: {sum(len(names) for _, names in ordered[8:]):,}"] if len(ordered) > 8 else []
    return "; ".join(parts + more)
